// Global memory: allocations between pages that fault, in a range of addresses of their own.
#pragma once
#include <cstddef>
#include <cstdint>

namespace simulator {

// CUDA gives addresses that are multiples of 256.
constexpr size_t kGlobalAlignment = 256;

// Null when memory is short or over the device's. The bytes are those of a NaN until something is written.
void *global_allocate(size_t size);
// False when the address is no allocation's.
bool global_free(void *address);

struct GlobalUse {
  size_t used, total;
};
GlobalUse global_use();

// Whether the address is in the range of global memory, allocated or not.
bool in_global_range(const void *address);
// Whether all bytes are of one living allocation.
bool in_one_allocation(const void *address, size_t size);

}  // namespace simulator
