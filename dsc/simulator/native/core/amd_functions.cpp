// What AMD's kernels ask of their block: indices, barriers, and that their accesses to memory be watched.
#include <algorithm>
#include <cstring>

#include "../device/amd.h"
#include "access.h"
#include "fault.h"
#include "worker.h"

using namespace simulator;

namespace {

constexpr size_t kWidest = 16;  // bytes that an instruction moves for a lane

unsigned part_of(SimulatorIndex index, int dimension) {
  return dimension == 0 ? index.x : dimension == 1 ? index.y : index.z;
}

// What is wider than instructions are is moved by several, which count as such: one byte further it is another.
void check_parts(const void *address, size_t size, Direction direction, const void *site) {
  for (size_t at = 0; at < size; at += kWidest)
    check_access(static_cast<const char *>(address) + at, std::min(kWidest, size - at), direction,
                 static_cast<const char *>(site) + at / kWidest);
}

void check(const void *address, size_t size, size_t alignment, Direction direction, const void *site) {
  if (reinterpret_cast<uintptr_t>(address) % alignment)
    fault(site, "%s %zu bytes at address %p, which is not a multiple of %zu",
          direction == Direction::kLoad ? "reads" : "writes", size, address, alignment);
  check_parts(address, size, direction, site);
}

// A run of bytes is of one instruction as long as it is: its parts are told apart no further than that.
void check_run(const void *address, size_t size, Direction direction, const void *site) {
  for (size_t at = 0; at < size; at += kWidest)
    check_access(static_cast<const char *>(address) + at, std::min(kWidest, size - at), direction, site);
}

}  // namespace

extern "C" {

unsigned simulator_amd_workitem(int dimension) { return part_of(Worker::current()->thread().index, dimension); }
unsigned simulator_amd_workgroup(int dimension) { return part_of(Worker::current()->block(), dimension); }

void simulator_amd_barrier(int line, int is_fenced) {
  Worker::current()->wait_at_barrier({line, 0, 0, is_fenced != 0});
}

void simulator_amd_load(const void *address, size_t size, size_t alignment) {
  check(address, size, alignment, Direction::kLoad, __builtin_return_address(0));
}
void simulator_amd_store(void *address, size_t size, size_t alignment) {
  check(address, size, alignment, Direction::kStore, __builtin_return_address(0));
}

void simulator_amd_atomic(void *address, size_t size) {
  check_atomic(address, size, __builtin_return_address(0));
}

void simulator_amd_copy(void *to, const void *from, size_t size) {
  const char *site = static_cast<const char *>(__builtin_return_address(0));
  if (Worker::current()->is_checked()) {
    check_run(from, size, Direction::kLoad, site);
    check_run(to, size, Direction::kStore, site + 1);
  }
  memmove(to, from, size);
}
void simulator_amd_fill(void *to, uint8_t byte, size_t size) {
  if (Worker::current()->is_checked()) check_run(to, size, Direction::kStore, __builtin_return_address(0));
  memset(to, byte, size);
}

int32_t simulator_amd_dot4(int a_signed, uint32_t a, int b_signed, uint32_t b, int32_t sum, int saturates) {
  auto byte = [](uint32_t bits, int i, int is_signed) -> int64_t {
    uint32_t moved = bits >> 8 * i;
    return is_signed ? int64_t{static_cast<int8_t>(moved)} : int64_t{static_cast<uint8_t>(moved)};
  };
  int64_t total = sum;
  for (int i = 0; i < 4; ++i) total += byte(a, i, a_signed) * byte(b, i, b_signed);
  if (saturates) total = std::min<int64_t>(std::max<int64_t>(total, INT32_MIN), INT32_MAX);
  return static_cast<int32_t>(static_cast<uint32_t>(total));
}
}
