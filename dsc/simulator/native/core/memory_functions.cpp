// Loads, stores and atomics that are no plain accesses of C++.
#include <cstring>

#include "access.h"
#include "fault.h"
#include "worker.h"

using namespace simulator;

namespace {

// Applies `combine` to what is at `address` until nobody else has changed it meanwhile.
template <class Word>
uint64_t exchange(void *address, SimulatorCombine combine, uint64_t operand, uint64_t compare) {
  auto *word = static_cast<Word *>(address);
  Word old = __atomic_load_n(word, __ATOMIC_RELAXED), wanted;
  do {
    wanted = static_cast<Word>(combine(old, operand, compare));
  } while (!__atomic_compare_exchange_n(word, &old, wanted, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED));
  return old;
}

}  // namespace

extern "C" {

void simulator_load(void *to, const void *from, int size) {
  size_t bytes = static_cast<size_t>(size);
  check_alignment(from, bytes, "a load");
  check_access(from, bytes, Direction::kLoad, __builtin_return_address(0));
  memcpy(to, from, bytes);
}

void simulator_store(void *to, const void *from, int size) {
  size_t bytes = static_cast<size_t>(size);
  check_alignment(to, bytes, "a store");
  check_access(to, bytes, Direction::kStore, __builtin_return_address(0));
  memcpy(to, from, bytes);
}

uint64_t simulator_atomic(void *address, int size, SimulatorCombine combine, uint64_t operand, uint64_t compare) {
  check_atomic(address, static_cast<size_t>(size), __builtin_return_address(0));
  switch (size) {
    case 2:
      return exchange<uint16_t>(address, combine, operand, compare);
    case 4:
      return exchange<uint32_t>(address, combine, operand, compare);
    case 8:
      return exchange<uint64_t>(address, combine, operand, compare);
  }
  fault(nullptr, "executes an atomic operation on %d bytes", size);
}
}
