#include "warp_log.h"

#include <algorithm>

#include "machine.h"

namespace simulator {

namespace {

constexpr unsigned kBanks = 32, kBankBytes = 4;

// The number of different values among `count` of them, which are sorted on the way.
size_t distinct(uint64_t *values, size_t count) {
  if (!std::is_sorted(values, values + count)) std::sort(values, values + count);
  return std::unique(values, values + count) - values;
}

struct Sectors {
  uint64_t bytes = 0, taken = 0, ideal = 0;
};

Sectors global_sectors(const uint64_t *addresses, SimulatorMask lanes, unsigned size) {
  const uint64_t sector = static_cast<uint64_t>(machine().sector_bytes);
  uint64_t starts[kMostLanes], sectors[2 * kMostLanes];
  size_t count = 0, touched = 0;
  for (unsigned lane = 0; lane < kMostLanes; ++lane) {
    if (!(lanes >> lane & 1)) continue;
    starts[count++] = addresses[lane];
    sectors[touched++] = addresses[lane] / sector;
    sectors[touched++] = (addresses[lane] + size - 1) / sector;
  }
  Sectors result;
  result.bytes = distinct(starts, count) * size;
  result.taken = distinct(sectors, touched);
  result.ideal = (result.bytes + sector - 1) / sector;
  return result;
}

// The passes of lanes whose accesses go together: as many as there are different words in the busiest bank.
unsigned passes(const uint64_t *addresses, SimulatorMask lanes, unsigned size) {
  uint64_t words[kBanks * 4];
  size_t count = 0;
  unsigned per_lane = std::max(size / kBankBytes, 1u);
  for (unsigned lane = 0; lane < kMostLanes; ++lane)
    for (unsigned i = 0; (lanes >> lane & 1) && i < per_lane; ++i) words[count++] = addresses[lane] / kBankBytes + i;
  count = distinct(words, count);
  unsigned busy[kBanks] = {};
  for (size_t i = 0; i < count; ++i) ++busy[words[i] % kBanks];
  return *std::max_element(busy, busy + kBanks);
}

}  // namespace

Wavefronts bank_wavefronts(const uint64_t *addresses, SimulatorMask lanes, unsigned size) {
  unsigned words = std::max(size / kBankBytes, 1u);
  unsigned together = kBanks / (words == 3 ? 4 : words);  // lanes that fill all banks once
  SimulatorMask group = (SimulatorMask{1} << together) - 1;
  Wavefronts result;
  for (unsigned first = 0; first < kMostLanes; first += together) {
    SimulatorMask part = lanes & group << first;
    if (!part) continue;
    result.taken += passes(addresses, part, size);
    ++result.ideal;
  }
  return result;
}

WarpLog::Site *WarpLog::find(const void *address) {
  size_t hash = reinterpret_cast<uintptr_t>(address) * 0x9e3779b97f4a7c15u >> (64 - kHashBits);
  for (;; hash = (hash + 1) % kSlots) {
    uint32_t &slot = slots_[hash];
    if (slot && sites_[slot - 1].address == address) return &sites_[slot - 1];
    if (slot) continue;
    if (sites_.size() == kSlots / 2) return nullptr;
    sites_.emplace_back();
    slot = static_cast<uint32_t>(sites_.size());
    sites_.back().address = address;
    return &sites_.back();
  }
}

WarpLog::Site *WarpLog::site(const void *address) {
  Site *found = find(address);
  if (found && found->round != round_) {
    found->round = round_;
    found->executed.fill(0);
    found->entries.clear();
  }
  return found;
}

bool WarpLog::record(const Thread &thread, const void *at, Access access, uint64_t address, unsigned size) {
  Site *where = site(at);
  if (!where) return false;
  uint32_t &executed = where->executed[thread.lane];
  if (executed == where->entries.size()) {
    if (is_full()) return false;
    where->entries.push_back(static_cast<uint32_t>(entries_.size()));
    entries_.push_back({access, size, 0, {}});
  }
  Entry &entry = entries_[where->entries[executed++]];
  entry.lanes |= SimulatorMask{1} << thread.lane;
  entry.addresses[thread.lane] = address;
  return true;
}

void WarpLog::count(Counters &counters) {
  for (const Entry &entry : entries_) {
    if (entry.access == Access::kGlobalLoad || entry.access == Access::kGlobalStore) {
      Sectors sectors = global_sectors(entry.addresses.data(), entry.lanes, entry.size);
      counters.global_bytes += sectors.bytes;
      counters.global_sectors += sectors.taken;
      counters.global_sectors_ideal += sectors.ideal;
      ++(entry.access == Access::kGlobalLoad ? counters.global_loads : counters.global_stores);
    } else {
      Wavefronts wavefronts = bank_wavefronts(entry.addresses.data(), entry.lanes, entry.size);
      counters.shared_wavefronts += wavefronts.taken;
      counters.shared_wavefronts_ideal += wavefronts.ideal;
      ++(entry.access == Access::kSharedLoad ? counters.shared_loads : counters.shared_stores);
    }
  }
  entries_.clear();
  ++round_;
  if (sites_.size() < kSlots / 2) return;
  sites_.clear();
  slots_.fill(0);
}

}  // namespace simulator
