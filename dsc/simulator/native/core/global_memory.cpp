#include "global_memory.h"

#include <sys/mman.h>

#include <cstring>
#include <map>
#include <mutex>

#include "machine.h"

namespace simulator {

namespace {

constexpr size_t kPage = 4096;
constexpr size_t kRange = size_t{1} << 42;  // addresses, not memory
// Larger ones are left zero: filling them would take their memory at once.
constexpr size_t kFilled = 256 << 20;
constexpr int kNan = 0xff;

size_t round_up(size_t value, size_t to) { return (value + to - 1) / to * to; }

struct Allocation {
  char *data;
  size_t size;
  size_t pages;  // bytes that are mapped, `data` lies flush with their end
};

class Arena {
 public:
  static Arena &instance() {
    static Arena *arena = new Arena;  // never destroyed: tensors may be freed while the process ends
    return *arena;
  }

  char *begin() const { return begin_; }
  char *end() const { return begin_ + kRange; }

  void *allocate(size_t size) {
    std::lock_guard<std::mutex> lock(mutex_);
    size_t taken = round_up(size ? size : 1, kGlobalAlignment);
    size_t pages = round_up(taken, kPage);
    if (live_ + size > machine().memory || next_ + pages + kPage > kRange) return nullptr;
    char *start = begin_ + next_;
    if (mprotect(start, pages, PROT_READ | PROT_WRITE) != 0) return nullptr;
    next_ += pages + kPage;
    char *data = start + pages - taken;
    if (size <= kFilled) memset(start, kNan, pages);
    allocations_[data] = {data, size, pages};
    live_ += size;
    return data;
  }

  bool free(void *address) {
    std::lock_guard<std::mutex> lock(mutex_);
    auto found = allocations_.find(static_cast<char *>(address));
    if (found == allocations_.end()) return false;
    const Allocation &allocation = found->second;
    char *start = page_of(allocation.data);
    // The addresses are never used again, so that a use after free faults.
    mmap(start, allocation.pages, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
    live_ -= allocation.size;
    allocations_.erase(found);
    ++generation_;
    return true;
  }

  // The allocation that an address is in, or null. Threads keep the last answers, which hold until something is freed.
  bool contains(const char *address, size_t size) {
    thread_local Allocation recent[kRecent];
    thread_local uint64_t generation = 0;
    if (generation != __atomic_load_n(&generation_, __ATOMIC_ACQUIRE)) {
      for (Allocation &each : recent) each = {};
      generation = generation_;
    }
    for (const Allocation &each : recent)
      if (address >= each.data && address + size <= each.data + each.size) return true;
    thread_local unsigned oldest = 0;
    std::lock_guard<std::mutex> lock(mutex_);
    auto after = allocations_.upper_bound(const_cast<char *>(address));
    if (after == allocations_.begin()) return false;
    const Allocation &found = std::prev(after)->second;
    if (address + size > found.data + found.size) return false;
    recent[oldest++ % kRecent] = found;
    return true;
  }

  size_t live() const { return live_; }

 private:
  static constexpr unsigned kRecent = 4;

  Arena() {
    void *range = mmap(nullptr, kRange, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (range != MAP_FAILED) begin_ = static_cast<char *>(range);
    next_ = begin_ ? kPage : kRange;
  }

  static char *page_of(char *address) {
    return reinterpret_cast<char *>(reinterpret_cast<uintptr_t>(address) & ~(kPage - 1));
  }

  char *begin_ = nullptr;
  size_t next_ = 0;
  size_t live_ = 0;
  uint64_t generation_ = 1;
  std::map<char *, Allocation> allocations_;
  std::mutex mutex_;
};

}  // namespace

void *global_allocate(size_t size) { return Arena::instance().allocate(size); }

bool global_free(void *address) { return Arena::instance().free(address); }

GlobalUse global_use() { return {Arena::instance().live(), machine().memory}; }

bool in_global_range(const void *address) {
  Arena &arena = Arena::instance();
  return address >= arena.begin() && address < arena.end();
}

bool in_one_allocation(const void *address, size_t size) {
  return Arena::instance().contains(static_cast<const char *>(address), size);
}

}  // namespace simulator
