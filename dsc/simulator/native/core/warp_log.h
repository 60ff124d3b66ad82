// The accesses of a warp's lanes brought together, as a device executes them: one instruction for all lanes.
//
// Lanes run one after another here. Each access is filed under its instruction and under how often the lane has
// executed that instruction before, so that what belongs together meets in one entry. An entry is counted when all
// lanes have been there: when the warp waits for others or is done, or when the log is full and every lane has been
// given the chance to catch up. Where lanes of a warp run inner loops of different lengths within an outer loop,
// entries are put together that a device would not; the totals of bytes are right all the same.
#pragma once
#include <array>
#include <cstdint>
#include <vector>

#include "counters.h"
#include "thread.h"

namespace simulator {

enum class Access : uint8_t { kGlobalLoad, kGlobalStore, kSharedLoad, kSharedStore };

// Passes through the banks that lanes' accesses of `size` bytes take, and what they would take without conflicts.
// 32 lanes go in one pass, of accesses of 8 bytes 16, and of wider ones 8.
struct Wavefronts {
  unsigned taken = 0, ideal = 0;
};
Wavefronts bank_wavefronts(const uint64_t *addresses, SimulatorMask lanes, unsigned size);

class WarpLog {
 public:
  // False when the log is full: let the other lanes run, count, and try again.
  bool record(const Thread &thread, const void *site, Access access, uint64_t address, unsigned size);
  bool is_full() const { return entries_.size() >= kEntries || sites_.size() == kSlots / 2; }
  // Add everything to the counters and begin anew.
  void count(Counters &counters);

 private:
  static constexpr size_t kEntries = 128;
  static constexpr size_t kSlots = 4096;  // a power of two
  static constexpr unsigned kHashBits = 12;

  struct Site {
    const void *address = nullptr;
    uint32_t round = 0;                      // of the log, for which the rest holds
    std::array<uint32_t, kMostLanes> executed{};  // how often, by lane
    std::vector<uint32_t> entries;           // by how often
  };
  struct Entry {
    Access access;
    unsigned size;
    SimulatorMask lanes = 0;
    std::array<uint64_t, kMostLanes> addresses;
  };

  // The entries of an instruction, empty when the log has been counted since; null when there are too many
  // instructions.
  Site *site(const void *address);
  Site *find(const void *address);

  std::vector<Entry> entries_;
  std::vector<Site> sites_;
  uint32_t round_ = 1;
  std::array<uint32_t, kSlots> slots_{};  // hash of an instruction's address -> index of its site, plus one
};

}  // namespace simulator
