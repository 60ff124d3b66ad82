#include "shared_memory.h"

#include <sys/mman.h>

#include <cstring>
#include <new>

#include "machine.h"

namespace simulator {

namespace {
constexpr size_t kPage = 4096;
// A multiple of the 128 bytes that 32 banks make, so that banks are those of a layout without gaps.
constexpr size_t kGap = 128;
constexpr size_t kDynamicAlignment = 128;
// From capability 9.0 on a block's memory begins after 1 KB of the system's; tiles that wgmma reads rely on it.
constexpr size_t kHopperAlignment = 1024;
constexpr int kNan = 0xff;

size_t dynamic_alignment() {
  bool is_cuda = !*machine().arch;
  return is_cuda && machine().major >= 9 ? kHopperAlignment : kDynamicAlignment;
}

size_t round_up(size_t value, size_t to) { return (value + to - 1) / to * to; }
}  // namespace

SharedMemory::SharedMemory() {
  size_t total = kBytes + 2 * kPage;
  void *memory = mmap(nullptr, total, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  base_ = static_cast<char *>(memory) + kPage;
  char *second = base_ + kPart + kPage;
  if (mprotect(base_, kPart, PROT_READ | PROT_WRITE) != 0 || mprotect(second, kPart, PROT_READ | PROT_WRITE) != 0)
    throw std::bad_alloc();
}

SharedMemory::~SharedMemory() { munmap(base_ - kPage, kBytes + 2 * kPage); }

void SharedMemory::begin_launch(size_t dynamic_bytes) {
  variables_.clear();
  recent_ = nullptr;
  static_bytes_ = static_end_ = 0;
  dynamic_bytes_ = dynamic_bytes;
  dynamic_taken_ = round_up(dynamic_bytes, dynamic_alignment());
  if (dynamic_bytes) {
    size_t begin = kBytes - dynamic_taken_;
    variables_.push_back({-1, begin, begin + dynamic_bytes, "dynamic shared memory"});
  }
}

void SharedMemory::begin_block() {
  memset(base_, kNan, static_end_);
  memset(dynamic(), kNan, dynamic_taken_);
}

void *SharedMemory::variable(int number, size_t size, size_t alignment, const char *name) {
  for (const Variable &each : variables_)
    if (each.number == number) return base_ + each.begin;
  size_t begin = round_up(round_up(static_end_ + (static_end_ ? kGap : 0), kGap), alignment);
  if (begin + size > kPart) return nullptr;
  static_bytes_ = round_up(static_bytes_, alignment) + size;
  static_end_ = begin + size;
  variables_.push_back({number, begin, static_end_, name});
  recent_ = nullptr;
  memset(base_ + begin, kNan, size);
  return base_ + begin;
}

const SharedMemory::Variable *SharedMemory::find(size_t offset) const {
  if (recent_ && offset >= recent_->begin && offset < recent_->end) return recent_;
  for (const Variable &each : variables_)
    if (offset >= each.begin && offset < each.end) return recent_ = &each;
  return nullptr;
}

const char *SharedMemory::owner(size_t offset, size_t size) const {
  const Variable *found = find(offset);
  return found && offset + size <= found->end ? found->name.c_str() : nullptr;
}

size_t SharedMemory::start(size_t offset) const {
  const Variable *found = find(offset);
  return found ? found->begin : 0;
}

}  // namespace simulator
