// A worker runs blocks, one after another, on one OS thread.
#pragma once
#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "collective.h"
#include "counters.h"
#include "fiber.h"
#include "order.h"
#include "shadow.h"
#include "shared_memory.h"
#include "thread.h"
#include "warp_log.h"
#include "warpgroup.h"

namespace simulator {

// A library that was made of a source file, loaded.
struct Image {
  uint64_t id = 0;  // by which Python finds the source
  void *library = nullptr;
  const SimulatorModule *module = nullptr;
  const char *begin = nullptr, *end = nullptr;  // where its code and constants are
};

// One launch of a kernel: what all workers share.
struct Launch {
  const Image *image = nullptr;
  const SimulatorKernel *kernel = nullptr;
  SimulatorIndex grid{}, block{};
  size_t dynamic_shared = 0;
  void **arguments = nullptr;
  std::atomic<uint64_t> next_block{0};
  std::atomic<bool> failed{false};

  uint64_t blocks() const { return uint64_t{grid.x} * grid.y * grid.z; }
  unsigned threads() const { return block.x * block.y * block.z; }
};

class Worker {
 public:
  // The one that runs on this OS thread; null outside of launches.
  static Worker *current() { return current_; }

  // Take blocks of the launch until none is left or a kernel has failed.
  void run(Launch &launch);

  Thread &thread() { return *thread_; }
  bool has_thread() const { return thread_ != nullptr; }
  const Launch &launch() const { return *launch_; }
  SimulatorIndex block() const { return block_; }
  SharedMemory &shared_memory() { return shared_; }
  const SharedMemory &shared_memory() const { return shared_; }
  Shadow &shadow() { return shadow_; }
  GroupProducts &products() { return products_; }
  // Whether the kernel's own accesses are watched, without which there is no telling who has written what.
  bool is_checked() const { return launch_->image->module->instrumented; }
  Counters &counters() { return counters_; }
  bool on_own_stack(const void *address) const {
    return static_cast<size_t>(static_cast<const char *>(address) - stack_) < Stacks::kSize;
  }
  const char *stack_top() const { return stack_ + Stacks::kSize; }

  // From a CUDA thread: let others run until the scheduler comes back to this one.
  void suspend() { switch_context(thread_->context, scheduler_); }
  // From a CUDA thread: the same until all of the block wait. Gives the result of the reduction.
  int wait_at_barrier(const Barrier &barrier) {
    thread_->barrier = barrier;
    thread_->state = State::kAtBarrier;
    suspend();
    return thread_->barrier.value;
  }
  // From a CUDA thread: end the launch.
  [[noreturn]] void abandon();
  void log(const void *site, Access access, uint64_t address, unsigned size) {
    while (counts_ && !log_.record(*thread_, site, access, address, size)) suspend();
  }

 private:
  // A library that is loaded late may have little storage of this model, which needs no call to be reached.
  static thread_local Worker *current_ __attribute__((tls_model("initial-exec")));

  static void start_thread();
  void run_block(uint64_t number);
  void start_block(uint64_t number);
  void resume(Thread &thread);
  void run_warp(unsigned warp);
  bool execute_collectives(unsigned warp);
  bool execute_complete(unsigned warp);
  bool execute_group(unsigned warp, Thread &leader);
  void report_stuck(unsigned warp);
  bool release_barrier();
  bool is_barrier_met();
  void begin_interval();

  Stacks stacks_;
  Context scheduler_;
  std::vector<Thread> threads_;
  Thread *thread_ = nullptr;
  const char *stack_ = nullptr;
  Launch *launch_ = nullptr;
  SimulatorIndex block_{};
  unsigned warps_ = 0, warp_size_ = 0;
  bool counts_ = false;

  SharedMemory shared_;
  Shadow shadow_;
  GroupProducts products_;
  Counters counters_;
  WarpLog log_;  // of the warp that runs
  std::unique_ptr<Order> warp_order_, lane_order_;
};

}  // namespace simulator
