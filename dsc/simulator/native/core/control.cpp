// What Python calls, through ctypes (dsc/simulator/core.py).
#include <cstring>
#include <string>

#include "errors.h"
#include "fault.h"
#include "global_memory.h"
#include "launch.h"
#include "streams.h"

using namespace simulator;

#define API extern "C" __attribute__((visibility("default")))

namespace {

std::vector<Fault> read_faults;
std::vector<std::pair<std::string, Counters>> read_counters;
thread_local std::string text;

}  // namespace

API void simulator_set_machine(const Machine *machine) { set_machine(*machine); }
API void simulator_set(const Settings *wanted) { settings() = *wanted; }

// Take a snapshot and give its length; the other functions read it.
API int simulator_fault_count() {
  read_faults = Faults::instance().all();
  return static_cast<int>(read_faults.size());
}
API const char *simulator_fault_kernel(int i) { return read_faults[static_cast<size_t>(i)].kernel.c_str(); }
API const char *simulator_fault_what(int i) { return read_faults[static_cast<size_t>(i)].what.c_str(); }
API uint64_t simulator_fault_offset(int i) { return read_faults[static_cast<size_t>(i)].offset; }
API uint64_t simulator_fault_image(int i) { return read_faults[static_cast<size_t>(i)].image; }
// Six numbers: of the block, then of the thread.
API void simulator_fault_place(int i, unsigned *place) {
  const Fault &fault = read_faults[static_cast<size_t>(i)];
  memcpy(place, &fault.block, sizeof(fault.block));
  memcpy(place + 3, &fault.thread, sizeof(fault.thread));
}
API void simulator_clear() {
  Faults::instance().clear();
  CounterTable::instance().clear();
  submissions().kernels = 0;
  submissions().graphs = 0;
}
// Two numbers: of kernels that were launched one by one, and of graphs.
API void simulator_submissions(uint64_t *counts) {
  counts[0] = submissions().kernels;
  counts[1] = submissions().graphs;
}

API int simulator_counter_count() {
  read_counters.clear();
  for (auto &each : CounterTable::instance().all()) read_counters.push_back(each);
  return static_cast<int>(read_counters.size());
}
API const char *const *simulator_counter_names() { return kCounterNames; }
API const char *simulator_counter_kernel(int i) { return read_counters[static_cast<size_t>(i)].first.c_str(); }
API const uint64_t *simulator_counter_values(int i) {
  return reinterpret_cast<const uint64_t *>(&read_counters[static_cast<size_t>(i)].second);
}

// Launches without TVM. Null, and simulator_error says why.
API void *simulator_load_image(const void *bytes) { return load_image(bytes, text); }
API const char *simulator_error() { return text.c_str(); }
API int simulator_launch(void *module, const char *name, const unsigned *grid, const unsigned *block,
                         size_t dynamic_shared, void **arguments) {
  const auto &image = *static_cast<Image *>(module);
  const SimulatorKernel *kernel = find_kernel(image, name);
  if (!kernel) return kNotFound;
  bool is_right =
      launch(image, *kernel, {grid[0], grid[1], grid[2]}, {block[0], block[1], block[2]}, dynamic_shared, arguments);
  return is_right ? kSuccess : kLaunchFailed;
}
API int simulator_kernel_arguments(void *module, const char *name) {
  const SimulatorKernel *kernel = find_kernel(*static_cast<Image *>(module), name);
  return kernel ? kernel->arguments : -1;
}
API void *simulator_allocate(size_t size) { return global_allocate(size); }
API int simulator_free(void *memory) { return global_free(memory); }
