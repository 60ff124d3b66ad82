// Shared memory of the running block, laid out with gaps so that an access beside a variable is seen.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace simulator {

// Two parts, each between pages that fault: variables of the source, then what the launch adds (dynamic), flush with
// the end of its part. Addresses in the shared window count from `base()`.
class SharedMemory {
 public:
  static constexpr size_t kPart = 256 << 10;
  static constexpr size_t kBytes = 2 * kPart + 4096;

  SharedMemory();
  ~SharedMemory();

  char *base() const { return base_; }
  bool contains(const void *address) const {
    return static_cast<size_t>(static_cast<const char *>(address) - base_) < kBytes;
  }
  size_t offset(const void *address) const { return static_cast<const char *>(address) - base_; }

  // Forget the variables: another kernel runs.
  void begin_launch(size_t dynamic_bytes);
  // All bytes become those of a NaN, as floats and halves read them.
  void begin_block();

  // The memory of the variable of this number, laid out on first use. Null when there is no room left.
  void *variable(int number, size_t size, size_t alignment, const char *name);
  char *dynamic() const { return base_ + kBytes - dynamic_taken_; }
  size_t dynamic_bytes() const { return dynamic_bytes_; }
  // Without the gaps: what a device would take.
  size_t bytes() const { return static_bytes_ + dynamic_bytes_; }

  // The name of what all the bytes are in, or null if they are not in one variable.
  const char *owner(size_t offset, size_t size) const;
  // Of the variable that an offset is in.
  size_t start(size_t offset) const;

 private:
  struct Variable {
    int number;
    size_t begin, end;  // offsets
    std::string name;
  };
  const Variable *find(size_t offset) const;

  char *base_ = nullptr;
  size_t dynamic_bytes_ = 0, dynamic_taken_ = 0;
  size_t static_bytes_ = 0, static_end_ = 0;
  std::vector<Variable> variables_;
  mutable const Variable *recent_ = nullptr;
};

}  // namespace simulator
