#include "worker.h"

#include <numeric>

#include "fault.h"

namespace simulator {

thread_local Worker *Worker::current_ = nullptr;

namespace {

// A permutation of the blocks: steps of a size that has no divisor in common with their number.
uint64_t permuted(uint64_t taken, uint64_t blocks) {
  const Settings &set = settings();
  if (set.order == OrderKind::kForward) return taken;
  if (set.order == OrderKind::kReverse) return blocks - 1 - taken;
  uint64_t step = set.seed * 0x9e3779b1u % blocks + 1;
  while (std::gcd(step, blocks) != 1) ++step;
  return (taken * step + set.seed) % blocks;
}

// Groups may be empty: pipelines commit one in each step, with copies or without.
bool has_copies(const Thread &thread) {
  bool has = !thread.open_copies.empty();
  for (const auto &group : thread.committed_copies) has |= !group.empty();
  return has;
}

}  // namespace

void Worker::run(Launch &launch) {
  launch_ = &launch;
  current_ = this;
  counters_ = {};
  counts_ = settings().counts && launch.image->module->instrumented;
  unsigned threads = launch.threads();
  warp_size_ = static_cast<unsigned>(machine().warp);
  warps_ = (threads + warp_size_ - 1) / warp_size_;
  stacks_.reserve(threads);
  threads_.resize(threads);
  log_ = WarpLog();
  shared_.begin_launch(launch.dynamic_shared);
  shadow_.begin_launch(warp_size_);
  warp_order_ = std::make_unique<Order>(settings().order, settings().seed, 0);
  lane_order_ = std::make_unique<Order>(settings().order, settings().seed, 1);
  uint64_t blocks = launch.blocks();
  for (uint64_t taken; !launch.failed && (taken = launch.next_block++) < blocks;) run_block(permuted(taken, blocks));
  counters_.shared_bytes = shared_.bytes();
  current_ = nullptr;
  launch_ = nullptr;
}

void Worker::run_block(uint64_t number) {
  start_block(number);
  do {
    for (unsigned warp : warp_order_->next(warps_)) {
      run_warp(warp);
      if (launch_->failed) return;
    }
  } while (release_barrier());
  if (int warp = products_.behind(); warp >= 0 && !launch_->failed) {
    report(warp * static_cast<int>(warp_size_), "has ended without a wgmma that other warps of its warpgroup executed");
    launch_->failed = true;
  }
}

void Worker::start_block(uint64_t number) {
  SimulatorIndex grid = launch_->grid, size = launch_->block;
  block_ = {static_cast<unsigned>(number % grid.x), static_cast<unsigned>(number / grid.x % grid.y),
            static_cast<unsigned>(number / grid.x / grid.y)};
  shared_.begin_block();
  shadow_.begin_block();
  products_.begin_block(warps_);
  for (unsigned i = 0; i < threads_.size(); ++i) {
    Thread &thread = threads_[i];
    thread.context = stacks_.prepare(i, start_thread);
    thread.state = State::kReady;
    thread.number = i;
    thread.lane = i % warp_size_;
    thread.warp = i / warp_size_;
    thread.index = {i % size.x, i / size.x % size.y, i / size.x / size.y};
    thread.open_copies.clear();
    thread.committed_copies.clear();
    thread.known.fill(0);
    thread.known[thread.lane] = 1;
  }
  ++counters_.blocks;
  counters_.threads += threads_.size();
}

// The first function on the stack of each CUDA thread.
void Worker::start_thread() {
  Worker &worker = *current();
  worker.launch_->kernel->run(worker.launch_->arguments);
  if (has_copies(*worker.thread_)) fault(nullptr, "ends with copies by cp.async that it never waited for");
  if (worker.products_.of(worker.thread_->warp).has_any()) fault(nullptr, "ends with wgmma that it never waited for");
  worker.thread_->state = State::kFinished;
  worker.suspend();
}

void Worker::abandon() {
  launch_->failed = true;
  suspend();
  __builtin_unreachable();
}

void Worker::resume(Thread &thread) {
  thread_ = &thread;
  stack_ = stacks_.bottom(thread.number);
  switch_context(scheduler_, thread.context);
  thread_ = nullptr;
  stack_ = nullptr;
}

// Until every lane is finished or waits for a barrier of the block.
void Worker::run_warp(unsigned warp) {
  unsigned first = warp * warp_size_;
  for (bool can_go_on = true; can_go_on;) {
    bool is_ready = false;
    for (unsigned lane : lane_order_->next(warp_size_)) {
      if (first + lane >= threads_.size() || threads_[first + lane].state != State::kReady) continue;
      resume(threads_[first + lane]);
      if (launch_->failed) return;
      is_ready |= threads_[first + lane].state == State::kReady;
    }
    if (counts_ && log_.is_full()) log_.count(counters_);
    can_go_on = is_ready || execute_collectives(warp);
  }
  report_stuck(warp);
  if (counts_) log_.count(counters_);
}

bool Worker::execute_collectives(unsigned warp) {
  if (execute_complete(warp)) return true;
  for (unsigned i = warp * warp_size_; i < threads_.size() && i < (warp + 1) * warp_size_; ++i)
    if (threads_[i].state == State::kAtCollective && !threads_[i].collective->mask)
      return execute_group(warp, threads_[i]);
  return false;
}

// Those that all their lanes wait for.
bool Worker::execute_complete(unsigned warp) {
  bool executed = false;
  for (unsigned i = warp * warp_size_; i < threads_.size() && i < (warp + 1) * warp_size_; ++i)
    if (threads_[i].state == State::kAtCollective && threads_[i].collective->mask)
      executed |= execute_group(warp, threads_[i]);
  return executed;
}

// The lanes that wait for the same as `leader`, if all of its mask do; those that have finished are not waited for.
bool Worker::execute_group(unsigned warp, Thread &leader) {
  const Collective &wanted = *leader.collective;
  Lanes lanes;
  SimulatorMask living = 0;
  for (unsigned lane = 0; lane < warp_size_ && warp * warp_size_ + lane < threads_.size(); ++lane) {
    Thread &thread = threads_[warp * warp_size_ + lane];
    if (thread.state != State::kFinished) living |= SimulatorMask{1} << lane;
    if (thread.state != State::kAtCollective) continue;
    const Collective &part = *thread.collective;
    if (part.execute != wanted.execute || part.mask != wanted.mask || part.variant != wanted.variant) continue;
    lanes.mask |= SimulatorMask{1} << lane;
    lanes.parts[lane] = thread.collective;
  }
  SimulatorMask needed = wanted.is_aligned ? wanted.mask : wanted.mask & living;
  if (wanted.mask && lanes.mask != needed) return false;
  wanted.execute(lanes);
  for (unsigned lane = 0; lane < warp_size_; ++lane)
    if (lanes.mask >> lane & 1) threads_[warp * warp_size_ + lane].state = State::kReady;
  ++counters_.warp_collectives;
  return true;
}

// A lane that still waits for others of its warp will wait for ever.
void Worker::report_stuck(unsigned warp) {
  for (unsigned i = warp * warp_size_; i < threads_.size() && i < (warp + 1) * warp_size_; ++i) {
    if (threads_[i].state != State::kAtCollective) continue;
    const Collective &waits = *threads_[i].collective;
    report(static_cast<int>(i), "waits at %s for lanes of mask 0x%08llx that do not come", waits.name,
           static_cast<unsigned long long>(waits.mask));
    launch_->failed = true;
    return;
  }
}

// Let all go on if they wait at one barrier; false when the block is done or the launch has failed.
bool Worker::release_barrier() {
  if (!is_barrier_met()) return false;
  int votes = 0;
  for (const Thread &thread : threads_) votes += thread.barrier.value != 0;
  bool orders_memory = true;
  int all = votes == static_cast<int>(threads_.size());
  for (Thread &thread : threads_) {
    thread.state = State::kReady;
    char reduction = thread.barrier.reduction;
    thread.barrier.value = reduction == '+' ? votes : reduction == '&' ? all : votes != 0;
    orders_memory &= thread.barrier.orders_memory;
  }
  counters_.barriers += warps_;
  if (orders_memory) begin_interval();
  return true;
}

// What was done before is ordered before all that follows.
void Worker::begin_interval() {
  shadow_.barrier();
  for (Thread &thread : threads_) {
    thread.known.fill(0);
    thread.known[thread.lane] = 1;
  }
}

// Whether all threads wait at one barrier. Where some do and others do not, the launch fails.
bool Worker::is_barrier_met() {
  const Thread *waiting = nullptr, *finished = nullptr, *elsewhere = nullptr;
  for (const Thread &thread : threads_) {
    if (thread.state == State::kFinished)
      finished = &thread;
    else if (waiting && thread.barrier.line != waiting->barrier.line)
      elsewhere = &thread;
    else
      waiting = &thread;
  }
  if (waiting && elsewhere)
    report(static_cast<int>(elsewhere->number), "waits at the barrier of line %d, while others wait at line %d",
           elsewhere->barrier.line, waiting->barrier.line);
  else if (waiting && finished)
    report(static_cast<int>(finished->number), "has ended, while others wait at the barrier of line %d",
           waiting->barrier.line);
  bool is_met = waiting && !elsewhere && !finished;
  if (waiting && !is_met) launch_->failed = true;
  return is_met;
}

}  // namespace simulator
