// What a translated kernel asks of the simulator: the one interface between kernels and the core.
//
// Kernels are compiled apart from the core and loaded into it. They touch nothing of the core's memory: everything they
// need comes from these functions, so that the accesses which the compiler instruments are the kernel's own.
#pragma once
#include <cstddef>
#include <cstdint>

#define SIMULATOR_ABI 4
#define SIMULATOR_CONST __attribute__((const))

#pragma GCC visibility push(default)
extern "C" {

struct SimulatorIndex {
  unsigned x, y, z;
};

// A warp's mask: bit `lane` is set for each lane that takes part. Warps of AMD's have up to 64 lanes.
typedef uint64_t SimulatorMask;

// Constant while a thread runs, so the compiler may ask once.
SimulatorIndex simulator_thread_index() SIMULATOR_CONST;
SimulatorIndex simulator_block_index() SIMULATOR_CONST;
SimulatorIndex simulator_block_size() SIMULATOR_CONST;
SimulatorIndex simulator_grid_size() SIMULATOR_CONST;
unsigned simulator_lane() SIMULATOR_CONST;
unsigned simulator_warp() SIMULATOR_CONST;
uint64_t simulator_clock();

// The memory of one __shared__ variable of the running block; `number` counts the variables of a source file.
void *simulator_shared_variable(int number, size_t size, size_t alignment, const char *name) SIMULATOR_CONST;
void *simulator_dynamic_shared(size_t alignment) SIMULATOR_CONST;
// Between generic addresses and those of the shared window, which are 32 bits wide.
uint32_t simulator_shared_address(const void *generic);
void *simulator_shared_pointer(uint32_t address) SIMULATOR_CONST;

// Barriers of the block; `line` is where the source has them. `reduction` is 0 (none), or '+', '&', '|' over `value`.
int simulator_barrier(int line, char reduction, int value);
void simulator_warp_barrier(SimulatorMask mask);

// Warp collectives. `bits` of each lane; the result is the lane's.
enum SimulatorShuffle { SIMULATOR_SHUFFLE_INDEX, SIMULATOR_SHUFFLE_UP, SIMULATOR_SHUFFLE_DOWN, SIMULATOR_SHUFFLE_XOR };
// `clamp` is the third operand of PTX's shfl; *inside tells whether the source lane was in the segment.
uint32_t simulator_shuffle(SimulatorMask mask, SimulatorShuffle mode, uint32_t bits, int operand, uint32_t clamp,
                           bool *inside);
SimulatorMask simulator_ballot(SimulatorMask mask, bool predicate);
SimulatorMask simulator_match_any(SimulatorMask mask, uint64_t bits);
SimulatorMask simulator_match_all(SimulatorMask mask, uint64_t bits, int *all);
SimulatorMask simulator_active_mask();
enum SimulatorReduction { SIMULATOR_ADD, SIMULATOR_MIN, SIMULATOR_MAX, SIMULATOR_AND, SIMULATOR_OR, SIMULATOR_XOR };
uint32_t simulator_reduce(SimulatorMask mask, SimulatorReduction what, bool is_signed, uint32_t bits);

// Matrix instructions of a whole warp; registers as the PTX ISA lays them out.
enum SimulatorType {
  SIMULATOR_F16,
  SIMULATOR_BF16,
  SIMULATOR_TF32,
  SIMULATOR_F32,
  SIMULATOR_S8,
  SIMULATOR_U8,
  SIMULATOR_S32,
};
struct SimulatorMma {
  int m, n, k;
  SimulatorType a, b, c, d;
  bool saturates;
};
void simulator_mma(const SimulatorMma *shape, const uint32_t *a, const uint32_t *b, const uint32_t *c, uint32_t *d);
// Halves of which two of each four columns of a are there, told by metadata of the lanes that the selector says. Counted as
// multiply-adds are those of what is there.
void simulator_mma_sp(const SimulatorMma *shape, const uint32_t *a, const uint32_t *b, const uint32_t *c,
                      uint32_t metadata, uint32_t selector, uint32_t *d);
void simulator_ldmatrix(int matrices, bool transposed, uint32_t address, uint32_t *registers);
void simulator_stmatrix(int matrices, bool transposed, uint32_t address, const uint32_t *registers);

// wgmma.mma_async of 64 rows and a depth of 16: matrices in shared memory by their descriptors, sums in the registers
// that `registers` points to, n / 2 of a lane, which may not be touched until the product is waited for.
struct SimulatorWgmma {
  int n;
  SimulatorType type;
  int sign_a, sign_b;
  bool a_transposed, b_transposed;
};
void simulator_wgmma(const SimulatorWgmma *shape, uint64_t a, uint64_t b, bool accumulates, float *const *registers);
void simulator_wgmma_fence();
void simulator_wgmma_commit();
void simulator_wgmma_wait(int groups_left);
// What the thread wrote to shared memory before may be read by wgmma, once threads have met.
void simulator_proxy_fence();

// wmma: fragments are opaque, an element of the matrix in each register-sized slot of `elements`.
struct SimulatorTile {
  int rows, columns;
  int bytes;       // of an element, in memory and in the fragment
  bool row_major;  // in memory
};
void simulator_wmma_load(const SimulatorTile *tile, void *fragment, const void *memory, unsigned stride);
void simulator_wmma_store(const SimulatorTile *tile, const void *fragment, void *memory, unsigned stride);
void simulator_wmma_mma(const SimulatorMma *shape, void *d, const void *a, const void *b, const void *c);

// Copies from global to shared memory that complete when they are waited for. The rest of `size` is filled with zeros.
void simulator_async_copy(uint32_t shared, const void *global, int size, int source_size);
void simulator_async_commit();
void simulator_async_wait(int groups_left);

// Memory accesses that are no plain C++ loads and stores: checked and counted like those.
void simulator_load(void *to, const void *from, int size);
void simulator_store(void *to, const void *from, int size);
// Atomic: applies `combine` to *address, whatever other threads do; returns the old bits.
typedef uint64_t (*SimulatorCombine)(uint64_t old, uint64_t operand, uint64_t compare);
uint64_t simulator_atomic(void *address, int size, SimulatorCombine combine, uint64_t operand, uint64_t compare);

// Ends the launch with an error. The text is a literal of the kernel's.
[[noreturn]] void simulator_fault(const char *what);
void simulator_assert(const char *expression, int line);

// What a translated source file exports, by the name `simulator_module`.
struct SimulatorKernel {
  const char *name;
  void (*run)(void **arguments);
  int arguments;
  int max_threads;  // of __launch_bounds__, or 0
  const int *argument_bytes;
};
struct SimulatorModule {
  int abi;
  int instrumented;
  const SimulatorKernel *kernels;
  int count;
};
}
#pragma GCC visibility pop
