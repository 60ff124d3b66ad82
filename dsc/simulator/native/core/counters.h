// What kernels did, counted for each kernel by name.
#pragma once
#include <cstdint>
#include <map>
#include <string>

namespace simulator {

// Numbers of warp instructions, unless it says otherwise. Python reads them by the names in counters.cpp.
struct Counters {
  uint64_t launches = 0;
  uint64_t blocks = 0;
  uint64_t threads = 0;
  uint64_t global_loads = 0, global_stores = 0;
  uint64_t global_bytes = 0;          // that the lanes asked for, each once in an instruction
  uint64_t global_sectors = 0;        // that the device moves for them
  uint64_t global_sectors_ideal = 0;  // if the bytes lay side by side
  uint64_t shared_loads = 0, shared_stores = 0;
  uint64_t shared_wavefronts = 0;        // passes through the 32 banks
  uint64_t shared_wavefronts_ideal = 0;  // without conflicts
  uint64_t async_copies = 0;             // of threads
  uint64_t atomics = 0;                  // of threads
  uint64_t barriers = 0;
  uint64_t warp_collectives = 0;  // shuffles, votes, reductions, barriers of warps
  uint64_t matrix_loads = 0;      // ldmatrix, and loads and stores of wmma
  uint64_t matrix_multiplies = 0;
  uint64_t matrix_macs = 0;   // multiply-adds on tensor cores
  uint64_t shared_bytes = 0;  // of a block: the most

  void add(const Counters &other);
};

// Names in the order of the fields of Counters, null at the end.
extern const char *const kCounterNames[];

// The sums of all launches, by kernel.
class CounterTable {
 public:
  static CounterTable &instance();
  void add(const std::string &kernel, const Counters &counters);
  std::map<std::string, Counters> all() const;
  void clear();
};

}  // namespace simulator
