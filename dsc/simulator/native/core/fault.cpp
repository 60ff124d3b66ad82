#include "fault.h"

#include <signal.h>
#include <ucontext.h>

#include <cstdarg>
#include <cstdio>
#include <memory>
#include <mutex>

#include "global_memory.h"
#include "worker.h"

namespace simulator {

namespace {

std::mutex faults_mutex;
std::vector<Fault> recorded;

std::string text(const char *format, va_list arguments) {
  char buffer[512];
  vsnprintf(buffer, sizeof(buffer), format, arguments);
  return buffer;
}

SimulatorIndex index_of(unsigned number, SimulatorIndex size) {
  return {number % size.x, number / size.x % size.y, number / size.x / size.y};
}

void record(const Worker &worker, SimulatorIndex thread, std::string what, const void *address) {
  const Launch &launch = worker.launch();
  Fault fault{launch.kernel->name, worker.block(), thread, std::move(what), launch.image->id, 0};
  const char *at = static_cast<const char *>(address);
  if (at >= launch.image->begin && at < launch.image->end) fault.offset = at - launch.image->begin;
  Faults::instance().add(std::move(fault));
}

}  // namespace

void fault(const void *address, const char *format, ...) {
  Worker &worker = *Worker::current();
  va_list arguments;
  va_start(arguments, format);
  record(worker, worker.thread().index, text(format, arguments), address);
  va_end(arguments);
  worker.abandon();
}

void report(int thread, const char *format, ...) {
  const Worker &worker = *Worker::current();
  va_list arguments;
  va_start(arguments, format);
  record(worker, index_of(static_cast<unsigned>(thread), worker.launch().block), text(format, arguments), nullptr);
  va_end(arguments);
}

Faults &Faults::instance() {
  static Faults only;
  return only;
}

void Faults::add(Fault fault) {
  std::lock_guard<std::mutex> lock(faults_mutex);
  recorded.push_back(std::move(fault));
}

std::vector<Fault> Faults::all() const {
  std::lock_guard<std::mutex> lock(faults_mutex);
  return recorded;
}

void Faults::clear() {
  std::lock_guard<std::mutex> lock(faults_mutex);
  recorded.clear();
}

std::string describe(const Fault &fault) {
  char place[160];
  snprintf(place, sizeof(place), ", block (%u, %u, %u), thread (%u, %u, %u): ", fault.block.x, fault.block.y,
           fault.block.z, fault.thread.x, fault.thread.y, fault.thread.z);
  return fault.kernel + place + fault.what;
}

// Signals of the processor. The handler runs on a stack of its own and may not do much; so it makes the CUDA thread go
// on in `after_signal`, an ordinary function, which faults.
namespace {

constexpr int kSignals[] = {SIGSEGV, SIGBUS, SIGFPE};
constexpr size_t kHandlerStack = 64 << 10;

struct sigaction previous[3];
int guards = 0;
std::mutex guards_mutex;

struct Caught {
  int number;
  bool is_full;  // the stack
  const void *address, *instruction;
};
// Of a model that a handler can reach without a call.
thread_local Caught caught __attribute__((tls_model("initial-exec")));

[[noreturn]] void after_signal() {
  const void *at = caught.instruction;
  if (caught.is_full) fault(at, "needs more local memory than a stack has");
  if (caught.number == SIGFPE) fault(at, "divides an integer by zero");
  if (Worker::current()->shared_memory().contains(caught.address)) fault(at, "accesses shared memory out of bounds");
  const char *near_global = in_global_range(caught.address) ? " (global memory out of bounds)" : "";
  fault(at, "accesses memory that does not exist, at address %p%s", caught.address, near_global);
}

void pass_on(int number, siginfo_t *info, void *context) {
  for (int i = 0; i < 3; ++i) {
    if (kSignals[i] != number) continue;
    if (previous[i].sa_flags & SA_SIGINFO) return previous[i].sa_sigaction(number, info, context);
    if (previous[i].sa_handler != SIG_DFL && previous[i].sa_handler != SIG_IGN) return previous[i].sa_handler(number);
    signal(number, SIG_DFL);  // the instruction is executed again, and ends the process
  }
}

void handle(int number, siginfo_t *info, void *context) {
  Worker *worker = Worker::current();
  if (!worker || !worker->has_thread()) return pass_on(number, info, context);
  auto &registers = static_cast<ucontext_t *>(context)->uc_mcontext.gregs;
  constexpr long long kRedZone = 128, kNeeded = 4096;  // bytes that `after_signal` may take
  bool is_full = !worker->on_own_stack(reinterpret_cast<const void *>(registers[REG_RSP] - kNeeded));
  caught = {number, is_full, info->si_addr, reinterpret_cast<const void *>(registers[REG_RIP])};
  // What is on the stack is not needed again, so where it is full its top is as good.
  long long stack = is_full ? reinterpret_cast<long long>(worker->stack_top()) : registers[REG_RSP];
  registers[REG_RSP] = ((stack - kRedZone) & ~15ll) - 8;  // aligned as after a call
  registers[REG_RIP] = reinterpret_cast<long long>(after_signal);
}

// Where handlers run on this OS thread, for as long as it lives.
struct HandlerStack {
  std::unique_ptr<char[]> memory{new char[kHandlerStack]};
  stack_t before{};

  HandlerStack() {
    stack_t own{};
    own.ss_sp = memory.get();
    own.ss_size = kHandlerStack;
    sigaltstack(&own, &before);
  }
  ~HandlerStack() { sigaltstack(&before, nullptr); }
};

}  // namespace

SignalGuard::SignalGuard() {
  thread_local HandlerStack stack;
  std::lock_guard<std::mutex> lock(guards_mutex);
  if (guards++) return;
  struct sigaction action{};
  action.sa_sigaction = handle;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  for (int i = 0; i < 3; ++i) sigaction(kSignals[i], &action, &previous[i]);
}

SignalGuard::~SignalGuard() {
  std::lock_guard<std::mutex> lock(guards_mutex);
  if (--guards) return;
  for (int i = 0; i < 3; ++i) sigaction(kSignals[i], &previous[i], nullptr);
}

}  // namespace simulator
