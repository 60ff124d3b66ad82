#include "shadow.h"

namespace simulator {

Hazard Shadow::write(const Thread &thread, size_t offset, size_t size, uint16_t flag) {
  for (size_t at = offset; at < offset + size; ++at) {
    Cell &cell = cells_[at];
    if (is_pending(cell)) return {Hazard::kPending, cell.writer & ~kPendingBit, true, at};
    if (races_with_write(thread, cell)) return {Hazard::kRace, cell.writer, true, at};
    int reader = unordered_reader(thread, cell);
    if (reader != kNobody) return {Hazard::kRace, reader, false, at};
    cell.written = interval_;
    cell.writer = static_cast<uint16_t>(thread.number) | flag;
    cell.write_time = thread.known[thread.lane];
  }
  return {};
}

int Shadow::unordered_reader(const Thread &thread, const Cell &cell) const {
  if (cell.read != interval_) return kNobody;
  if (cell.reader_warp == kSeveralWarps) return Hazard::kSeveral;
  unsigned first = cell.reader_warp * kWarp;
  for (unsigned lane = 0; lane < kWarp; ++lane) {
    bool is_reader = cell.readers >> lane & 1;
    if (is_reader && first + lane != thread.number && !knows(thread, first + lane, cell.read_time))
      return static_cast<int>(first + lane);
  }
  return kNobody;
}

void Shadow::end_copy(const Thread &thread, size_t offset, size_t size) {
  for (size_t at = offset; at < offset + size; ++at) {
    Cell &cell = cells_[at];
    cell.written = interval_;
    cell.writer = static_cast<uint16_t>(thread.number);
    cell.write_time = thread.known[thread.lane];
  }
}

}  // namespace simulator
