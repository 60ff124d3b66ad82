// CUDA C++ as this host's compiler takes it: keywords, built-in variables and functions.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <type_traits>

#include "abi.h"

// __shared__ is not here: the translator rewrites the declarations of shared memory.
#define __global__
#define __device__
#define __host__
#define __constant__ static
#define __managed__ static
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)
#define __maxnreg__(...)
#define __cluster_dims__(...)
#define __grid_constant__
#define __align__(n) __attribute__((aligned(n)))

#include "vector_types.h"

#define threadIdx (simulator_thread_index())
#define blockIdx (simulator_block_index())
#define blockDim (simulator_block_size())
#define gridDim (simulator_grid_size())
constexpr int warpSize = 32;

#define __syncthreads() ((void)simulator_barrier(__LINE__, 0, 0))
#define __syncthreads_count(predicate) simulator_barrier(__LINE__, '+', (predicate))
#define __syncthreads_and(predicate) simulator_barrier(__LINE__, '&', (predicate))
#define __syncthreads_or(predicate) simulator_barrier(__LINE__, '|', (predicate))

// Every store is seen by all at once here, so that fences have nothing to do; they do not replace barriers.
inline void __threadfence() {}
inline void __threadfence_block() {}
inline void __threadfence_system() {}

inline long long clock64() { return static_cast<long long>(simulator_clock()); }
inline void __nanosleep(unsigned) {}
[[noreturn]] inline void __trap() { simulator_fault("executes __trap"); }

#undef assert
#define assert(condition) ((condition) ? (void)0 : simulator_assert(#condition, __LINE__))

inline size_t __cvta_generic_to_shared(const void *generic) { return simulator_shared_address(generic); }
inline void *__cvta_shared_to_generic(size_t address) {
  return simulator_shared_pointer(static_cast<uint32_t>(address));
}

#include "atomics.h"
#include "math_functions.h"
#include "warp_functions.h"
