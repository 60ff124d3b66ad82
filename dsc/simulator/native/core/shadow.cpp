#include "shadow.h"

namespace simulator {

Hazard Shadow::write_cell(const Thread &thread, Cell &cell, size_t at, uint16_t flag) {
  if (flag == kAtomicBit && cell.written < first_interval_) return {Hazard::kUnwritten, 0, false, at};
  if (is_pending(cell)) return hazard(Hazard::kPending, cell, at);
  bool both_atomic = flag == kAtomicBit && cell.writer & kAtomicBit;
  if (!both_atomic && races_with_write(thread, cell)) return hazard(Hazard::kRace, cell, at);
  int reader = unordered_reader(thread, cell);
  if (reader != kNobody) return {Hazard::kRace, reader, false, at};
  cell.writer = writer(thread, cell, flag);
  cell.fences = fences_[thread.number];
  uint16_t time = thread.known[thread.lane];
  bool is_shared = cell.writer & (kWarpBit | kAnyBit) && cell.write_time > time;
  if (!is_shared) cell.write_time = time;
  cell.written = interval_;
  return {};
}

// Who has written when this thread has: itself, and those who have done so atomically too.
uint16_t Shadow::writer(const Thread &thread, const Cell &cell, uint16_t flag) const {
  bool has_written_plainly = cell.written == interval_ && cell.writer == thread.number;
  uint16_t self = static_cast<uint16_t>(thread.number) | (has_written_plainly && flag == kAtomicBit ? 0 : flag);
  bool joins = flag == kAtomicBit && cell.written == interval_ && cell.writer & kAtomicBit && cell.writer != self;
  if (!joins) return self;
  bool is_same_warp = !(cell.writer & kAnyBit) && (cell.writer & kNumber) / warp_ == thread.warp;
  return self | (is_same_warp ? kWarpBit : kAnyBit);
}

bool Shadow::knows_writer(const Thread &thread, const Cell &cell) const {
  unsigned number = cell.writer & kNumber;
  if (cell.writer & kAnyBit) return false;
  if (!(cell.writer & kWarpBit)) return number == thread.number || knows(thread, number, cell.write_time);
  if (number / warp_ != thread.warp) return false;
  for (unsigned lane = 0; lane < warp_; ++lane)
    if (thread.known[lane] < cell.write_time) return false;
  return true;
}

int Shadow::unordered_reader(const Thread &thread, const Cell &cell) const {
  if (cell.read != interval_) return kNobody;
  if (cell.reader_warp == kSeveralWarps) return Hazard::kSeveral;
  unsigned first = cell.reader_warp * warp_;
  for (unsigned lane = 0; lane < warp_; ++lane) {
    bool is_reader = cell.readers >> lane & 1;
    if (is_reader && first + lane != thread.number && !knows(thread, first + lane, cell.read_time))
      return static_cast<int>(first + lane);
  }
  return kNobody;
}

void Shadow::end_copy(const Thread &thread, size_t offset, size_t size) {
  for_each_cell(offset, size, [&](Cell &cell, size_t) {
    cell.written = interval_;
    cell.writer = static_cast<uint16_t>(thread.number);
    cell.fences = fences_[thread.number];
    cell.write_time = thread.known[thread.lane];
    return Hazard{};
  });
}

}  // namespace simulator
