#include "counters.h"

#include <algorithm>
#include <mutex>

namespace simulator {

namespace {
std::mutex table_mutex;
std::map<std::string, Counters> table;
}  // namespace

const char *const kCounterNames[] = {"launches",
                                     "blocks",
                                     "threads",
                                     "global_loads",
                                     "global_stores",
                                     "global_bytes",
                                     "global_sectors",
                                     "global_sectors_ideal",
                                     "shared_loads",
                                     "shared_stores",
                                     "shared_wavefronts",
                                     "shared_wavefronts_ideal",
                                     "async_copies",
                                     "atomics",
                                     "barriers",
                                     "warp_collectives",
                                     "matrix_loads",
                                     "matrix_multiplies",
                                     "matrix_macs",
                                     "shared_bytes",
                                     nullptr};
static_assert(sizeof(kCounterNames) / sizeof(*kCounterNames) - 1 == sizeof(Counters) / sizeof(uint64_t),
              "every counter has a name");

void Counters::add(const Counters &other) {
  uint64_t most = std::max(shared_bytes, other.shared_bytes);
  auto *mine = reinterpret_cast<uint64_t *>(this);
  auto *theirs = reinterpret_cast<const uint64_t *>(&other);
  for (size_t i = 0; i < sizeof(Counters) / sizeof(uint64_t); ++i) mine[i] += theirs[i];
  shared_bytes = most;
}

CounterTable &CounterTable::instance() {
  static CounterTable only;
  return only;
}

void CounterTable::add(const std::string &kernel, const Counters &counters) {
  std::lock_guard<std::mutex> lock(table_mutex);
  table[kernel].add(counters);
}

std::map<std::string, Counters> CounterTable::all() const {
  std::lock_guard<std::mutex> lock(table_mutex);
  return table;
}

void CounterTable::clear() {
  std::lock_guard<std::mutex> lock(table_mutex);
  table.clear();
}

}  // namespace simulator
