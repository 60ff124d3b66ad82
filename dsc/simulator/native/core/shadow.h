// Races in shared memory: who wrote and read each byte since the last barrier.
//
// Two accesses of different threads to a byte, one of them a write, must have a barrier between them: of the block, or of
// the warp (then known by clocks, see Thread::known). This is decided from who did what between which barriers, so it
// does not depend on the order in which this simulator happens to run the threads. The same record tells reads of bytes
// that nobody wrote, and accesses to bytes that an asynchronous copy is still to write.
#pragma once
#include <cstdint>
#include <vector>

#include "shared_memory.h"
#include "thread.h"

namespace simulator {

struct Hazard {
  enum Kind { kNone, kUnwritten, kRace, kPending } kind = kNone;
  static constexpr int kSeveral = -2;
  int other = 0;            // number of the other thread; kSeveral of several warps
  bool other_wrote = false;
  size_t byte = 0;          // offset of the first such byte
  explicit operator bool() const { return kind != kNone; }
};

class Shadow {
 public:
  Shadow() : cells_(SharedMemory::kBytes) {}

  void begin_block() { first_interval_ = ++interval_; }
  void barrier() { ++interval_; }

  Hazard read(const Thread &thread, size_t offset, size_t size) {
    for (size_t at = offset; at < offset + size; ++at)
      if (Hazard found = read_byte(thread, at)) return found;
    return {};
  }
  Hazard write(const Thread &thread, size_t offset, size_t size) { return write(thread, offset, size, 0); }
  // Atomic operations do not race with one another.
  Hazard atomic(const Thread &thread, size_t offset, size_t size) { return write(thread, offset, size, kAtomicBit); }
  // The thread has issued a copy that will write these bytes: nobody may touch them until it has waited for it.
  Hazard begin_copy(const Thread &thread, size_t offset, size_t size) { return write(thread, offset, size, kPendingBit); }
  // The copy is complete: as if the thread had written the bytes now.
  void end_copy(const Thread &thread, size_t offset, size_t size);

 private:
  // A writer is the number of a thread, and these.
  static constexpr uint16_t kPendingBit = 0x8000;
  static constexpr uint16_t kAtomicBit = 0x4000;
  static constexpr uint16_t kWarpBit = 0x2000;      // several lanes of the thread's warp, all atomically
  static constexpr uint16_t kAnyBit = 0x1000;       // threads of several warps, all atomically
  static constexpr uint16_t kNumber = 0x0fff;
  static constexpr uint16_t kSeveralWarps = 0xffff;

  // Intervals are numbered through all blocks and launches, so that cells never need to be cleared. A thread's time only
  // counts within an interval.
  struct Cell {
    uint32_t written = 0, read = 0;  // interval of the last write, and of the last read
    uint32_t readers = 0;            // lanes of one warp that read in that interval
    uint16_t writer = 0;
    uint16_t write_time = 0, read_time = 0;
    uint16_t reader_warp = 0;        // or kSeveralWarps
  };

  static bool knows(const Thread &thread, unsigned other, unsigned time) {
    return other / kWarp == thread.warp && thread.known[other % kWarp] >= time;
  }
  static bool knows_writer(const Thread &thread, const Cell &cell);
  bool races_with_write(const Thread &thread, const Cell &cell) const {
    return cell.written == interval_ && cell.writer != thread.number && !knows_writer(thread, cell);
  }
  static Hazard hazard(Hazard::Kind kind, const Cell &cell, size_t at) {
    bool is_one = !(cell.writer & (kWarpBit | kAnyBit));
    return {kind, is_one ? cell.writer & kNumber : Hazard::kSeveral, true, at};
  }
  bool is_pending(const Cell &cell) const { return cell.written >= first_interval_ && (cell.writer & kPendingBit); }

  Hazard read_byte(const Thread &thread, size_t at) {
    Cell &cell = cells_[at];
    if (cell.written < first_interval_) return {Hazard::kUnwritten, 0, false, at};
    if (is_pending(cell)) return hazard(Hazard::kPending, cell, at);
    if (races_with_write(thread, cell)) return hazard(Hazard::kRace, cell, at);
    note_read(thread, cell);
    return {};
  }
  void note_read(const Thread &thread, Cell &cell) {
    uint16_t time = thread.known[thread.lane];
    if (cell.read != interval_) {
      cell.read = interval_;
      cell.reader_warp = static_cast<uint16_t>(thread.warp);
      cell.readers = 0;
      cell.read_time = 0;
    } else if (cell.reader_warp != thread.warp) {
      cell.reader_warp = kSeveralWarps;
    }
    cell.readers |= 1u << thread.lane;
    if (time > cell.read_time) cell.read_time = time;
  }
  Hazard write(const Thread &thread, size_t offset, size_t size, uint16_t flag);
  static constexpr int kNobody = -1;
  uint16_t writer(const Thread &thread, const Cell &cell, uint16_t flag) const;
  // One of the cell's readers that may not be done: its number, Hazard::kSeveral, or kNobody.
  int unordered_reader(const Thread &thread, const Cell &cell) const;

  std::vector<Cell> cells_;
  uint32_t interval_ = 0, first_interval_ = 0;
};

}  // namespace simulator
