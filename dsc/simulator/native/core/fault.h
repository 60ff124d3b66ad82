// What ends a launch: a rule of CUDA that a kernel broke, or something that the simulator does not know.
#pragma once
#include <string>
#include <vector>

#include "../device/abi.h"

namespace simulator {

struct Fault {
  std::string kernel;
  SimulatorIndex block{}, thread{};
  std::string what;
  uint64_t image = 0;  // of the kernel: its id
  size_t offset = 0;   // of the instruction in the kernel's library, or 0
};

// End the launch from a running CUDA thread; never returns to it. `address`: of the instruction, or null.
[[noreturn]] __attribute__((format(printf, 2, 3))) void fault(const void *address, const char *format, ...);

// For the scheduler: the same about a thread that is suspended, or about the block (thread < 0). The launch must end.
__attribute__((format(printf, 2, 3))) void report(int thread, const char *format, ...);

// All faults so far, oldest first.
class Faults {
 public:
  static Faults &instance();
  void add(Fault fault);
  std::vector<Fault> all() const;
  void clear();
};

std::string describe(const Fault &fault);

// While one exists, faults of the processor (bad addresses, division by zero) in this OS thread's CUDA threads become
// faults of the kernel. Signals that are not the kernel's go to the handlers that were there before.
class SignalGuard {
 public:
  SignalGuard();
  ~SignalGuard();
};

}  // namespace simulator
