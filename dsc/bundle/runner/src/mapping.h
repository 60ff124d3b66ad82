/* Files as memory. */
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace dsc {

/* A whole file, mapped: pages are read when they are first touched, and shared by all processes. */
class Mapping {
 public:
  /* Throws Failure (DSC_ERROR_FILE) where it cannot be read. */
  explicit Mapping(const std::string &path);
  Mapping(Mapping &&other) noexcept;
  Mapping &operator=(Mapping &&) = delete;
  ~Mapping();

  const uint8_t *data() const { return data_; }
  size_t size() const { return size_; }

 private:
  uint8_t *data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace dsc
