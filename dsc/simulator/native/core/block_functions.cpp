// What a kernel asks of its block: indices, barriers, shared memory.
#include <time.h>

#include "fault.h"
#include "machine.h"
#include "worker.h"

using namespace simulator;

extern "C" {

SimulatorIndex simulator_thread_index() { return Worker::current()->thread().index; }
SimulatorIndex simulator_block_index() { return Worker::current()->block(); }
SimulatorIndex simulator_block_size() { return Worker::current()->launch().block; }
SimulatorIndex simulator_grid_size() { return Worker::current()->launch().grid; }
unsigned simulator_lane() { return Worker::current()->thread().lane; }
unsigned simulator_warp() { return Worker::current()->thread().warp; }

uint64_t simulator_clock() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1000000000u + static_cast<uint64_t>(now.tv_nsec);
}

int simulator_barrier(int line, char reduction, int value) {
  return Worker::current()->wait_at_barrier({line, reduction, value, true});
}

void *simulator_shared_variable(int number, size_t size, size_t alignment, const char *name) {
  SharedMemory &shared = Worker::current()->shared_memory();
  void *variable = shared.variable(number, size, alignment, name);
  size_t limit = static_cast<size_t>(machine().shared_bytes);
  if (!variable || shared.bytes() - shared.dynamic_bytes() > limit)
    fault(nullptr, "needs more than the %zu bytes of static shared memory that a block can have", limit);
  if (shared.bytes() > static_cast<size_t>(machine().shared_bytes_optin))
    fault(nullptr, "needs %zu bytes of shared memory, a block can have %d", shared.bytes(),
          machine().shared_bytes_optin);
  return variable;
}

void *simulator_dynamic_shared(size_t alignment) {
  void *memory = Worker::current()->shared_memory().dynamic();
  if (reinterpret_cast<uintptr_t>(memory) % alignment)
    fault(nullptr, "asks for dynamic shared memory at a multiple of %zu bytes, which is not promised", alignment);
  return memory;
}

uint32_t simulator_shared_address(const void *generic) {
  const SharedMemory &shared = Worker::current()->shared_memory();
  if (!shared.contains(generic))
    fault(nullptr, "takes the shared address of %p, which is not in shared memory", generic);
  return static_cast<uint32_t>(shared.offset(generic));
}

void *simulator_shared_pointer(uint32_t address) { return Worker::current()->shared_memory().base() + address; }

void simulator_fault(const char *what) { fault(__builtin_return_address(0), "%s", what); }

void simulator_assert(const char *expression, int line) {
  fault(nullptr, "fails the assertion %s of line %d", expression, line);
}
}
