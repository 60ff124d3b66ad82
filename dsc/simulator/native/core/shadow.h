// Races in shared memory: who wrote and read each byte since the last barrier.
//
// Two accesses of different threads to a byte, one of them a write, must have a barrier between them: of the block, or
// of the warp (then known by clocks, see Thread::known). This is decided from who did what between which barriers, so
// it does not depend on the order in which this simulator happens to run the threads. The same record tells reads of
// bytes that nobody wrote, accesses to bytes that an asynchronous copy is still to write, writes to bytes that a wgmma
// may still read, and reads by wgmma of what was written without a fence of proxies.
#pragma once
#include <algorithm>
#include <cstdint>
#include <vector>

#include "shared_memory.h"
#include "thread.h"

namespace simulator {

struct Hazard {
  enum Kind { kNone, kUnwritten, kRace, kPending, kReading, kUnfenced } kind = kNone;
  static constexpr int kSeveral = -2;
  int other = 0;  // number of the other thread; kSeveral of several warps
  bool other_wrote = false;
  size_t byte = 0;  // offset of the first such byte
  explicit operator bool() const { return kind != kNone; }
};

class Shadow {
 public:
  Shadow()
      : words_(SharedMemory::kBytes / kWord),
        bytes_(SharedMemory::kBytes),
        readings_(SharedMemory::kBytes / kChunk),
        fences_(kNumber + 1) {}

  void begin_launch(unsigned warp) {
    ++launch_;
    warp_ = warp;
  }
  void begin_block() {
    first_interval_ = ++interval_;
    if (has_readings_) readings_.assign(readings_.size(), 0);
    has_readings_ = false;
  }
  void barrier() { ++interval_; }

  Hazard read(const Thread &thread, size_t offset, size_t size) {
    return for_each_cell(offset, size, [&](Cell &cell, size_t at) { return read_cell(thread, cell, at); });
  }
  Hazard write(const Thread &thread, size_t offset, size_t size) { return write(thread, offset, size, 0); }
  // Atomic operations do not race with one another.
  Hazard atomic(const Thread &thread, size_t offset, size_t size) { return write(thread, offset, size, kAtomicBit); }
  // The thread has issued a copy that will write these bytes: nobody may touch them until it has waited for it.
  Hazard begin_copy(const Thread &thread, size_t offset, size_t size) {
    return write(thread, offset, size, kPendingBit);
  }
  // wgmma reads at any time between the start of its product and its end. It goes past the caches of ordinary accesses:
  // who wrote must have executed a fence since.
  Hazard matrix_read(const Thread &thread, size_t offset, size_t size) {
    return for_each_cell(offset, size, [&](Cell &cell, size_t at) {
      Hazard found = read_cell(thread, cell, at);
      if (!found && fences_[cell.writer & kNumber] == cell.fences) return hazard(Hazard::kUnfenced, cell, at);
      return found;
    });
  }
  void begin_matrix_read(size_t offset) {
    ++readings_[offset / kChunk];
    has_readings_ = true;
  }
  void end_matrix_read(size_t offset) { --readings_[offset / kChunk]; }
  void fence_proxy(const Thread &thread) { ++fences_[thread.number]; }
  // The copy is complete: as if the thread had written the bytes now.
  void end_copy(const Thread &thread, size_t offset, size_t size);

 private:
  // A writer is the number of a thread, and these.
  static constexpr size_t kWord = 4;
  static constexpr size_t kChunk = 16;  // of what wgmma reads
  static constexpr uint16_t kPendingBit = 0x8000;
  static constexpr uint16_t kAtomicBit = 0x4000;
  static constexpr uint16_t kWarpBit = 0x2000;  // several lanes of the thread's warp, all atomically
  static constexpr uint16_t kAnyBit = 0x1000;   // threads of several warps, all atomically
  static constexpr uint16_t kNumber = 0x0fff;
  static constexpr uint16_t kSeveralWarps = 0xffff;

  // Intervals are numbered through all blocks and launches, so that cells never need to be cleared. A thread's time
  // only counts within an interval.
  struct Cell {
    uint32_t written = 0, read = 0;  // interval of the last write, and of the last read
    uint64_t readers = 0;            // lanes of one warp that read in that interval
    uint16_t writer = 0;
    uint16_t write_time = 0, read_time = 0;
    uint16_t reader_warp = 0;  // or kSeveralWarps
    uint32_t split = 0;        // of a word: the launch in which its bytes have cells of their own
    uint32_t fences = 0;       // that the writer had executed before
  };

  // Calls function(cell, offset) for what the bytes' history is kept in: a word, until a part of it is accessed alone.
  // Stops at the first hazard.
  template <class Function>
  Hazard for_each_cell(size_t offset, size_t size, Function function) {
    for (size_t at = offset, end = offset + size; at < end;) {
      Cell &word = words_[at / kWord];
      bool is_whole = at % kWord == 0 && at + kWord <= end && word.split != launch_;
      if (!is_whole) split(word, at / kWord);
      if (Hazard found = function(is_whole ? word : bytes_[at], at)) return found;
      at += is_whole ? kWord : 1;
    }
    return {};
  }
  void split(Cell &word, size_t number) {
    if (word.split == launch_) return;
    for (size_t i = 0; i < kWord; ++i) bytes_[number * kWord + i] = word;
    word.split = launch_;
  }

  bool knows(const Thread &thread, unsigned other, unsigned time) const {
    return other / warp_ == thread.warp && thread.known[other % warp_] >= time;
  }
  bool knows_writer(const Thread &thread, const Cell &cell) const;
  bool races_with_write(const Thread &thread, const Cell &cell) const {
    return cell.written == interval_ && cell.writer != thread.number && !knows_writer(thread, cell);
  }
  static Hazard hazard(Hazard::Kind kind, const Cell &cell, size_t at) {
    bool is_one = !(cell.writer & (kWarpBit | kAnyBit));
    return {kind, is_one ? cell.writer & kNumber : Hazard::kSeveral, true, at};
  }
  bool is_pending(const Cell &cell) const { return cell.written >= first_interval_ && (cell.writer & kPendingBit); }

  Hazard read_cell(const Thread &thread, Cell &cell, size_t at) {
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
    cell.readers |= uint64_t{1} << thread.lane;
    if (time > cell.read_time) cell.read_time = time;
  }
  Hazard write(const Thread &thread, size_t offset, size_t size, uint16_t flag) {
    for (size_t chunk = offset / kChunk; chunk <= (offset + size - 1) / kChunk; ++chunk)
      if (readings_[chunk]) return {Hazard::kReading, Hazard::kSeveral, false, std::max(offset, chunk * kChunk)};
    return for_each_cell(offset, size, [&](Cell &cell, size_t at) { return write_cell(thread, cell, at, flag); });
  }
  Hazard write_cell(const Thread &thread, Cell &cell, size_t at, uint16_t flag);
  static constexpr int kNobody = -1;
  uint16_t writer(const Thread &thread, const Cell &cell, uint16_t flag) const;
  // One of the cell's readers that may not be done: its number, Hazard::kSeveral, or kNobody.
  int unordered_reader(const Thread &thread, const Cell &cell) const;

  std::vector<Cell> words_, bytes_;
  std::vector<uint32_t> readings_;  // by wgmma, by chunk
  bool has_readings_ = false;
  std::vector<uint32_t> fences_;  // of proxies, by thread
  uint32_t interval_ = 0, first_interval_ = 0, launch_ = 0;
  unsigned warp_ = kCudaWarp;  // lanes
};

}  // namespace simulator
