// Every access to memory that a kernel makes is checked and counted here.
#pragma once
#include <cstddef>
#include <cstdint>

namespace simulator {

enum class Direction { kLoad, kStore };

// `site`: the instruction, by which the accesses of a warp's lanes are brought together; null where a caller counts for
// itself. Faults from the running CUDA thread where the access breaks a rule.
void check_access(const void *address, size_t size, Direction direction, const void *site);

// The parts of it, for instructions with rules of their own.
void check_alignment(const void *address, size_t alignment, const char *what);
void check_global(const void *address, size_t size, Direction direction, const void *site);
// Alignment, bounds and races of an atomic operation, wherever its operand is; counts it.
void check_atomic(const void *address, size_t size, const void *site);
// That the bytes at an offset in shared memory may be written by a copy which begins now.
void check_copy(size_t offset, size_t size, const void *site);
// That wgmma may read the bytes at an offset in shared memory.
void check_matrix_read(size_t offset, size_t size, const void *site);
// Gives the offset in shared memory.
size_t check_shared_bounds(const void *address, size_t size, Direction direction, const void *site);

}  // namespace simulator
