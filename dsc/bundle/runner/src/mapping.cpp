#include "mapping.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "failure.h"

namespace dsc {
namespace {

[[noreturn]] void cannot_read(const std::string &path, const char *reason) {
  throw Failure(DSC_ERROR_FILE, "cannot read " + path + ": " + reason);
}

struct Descriptor {
  int number;
  ~Descriptor() {
    if (number >= 0) close(number);
  }
};

}  // namespace

Mapping::Mapping(const std::string &path) {
  const Descriptor file{open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
  struct stat facts;
  if (file.number < 0 || fstat(file.number, &facts) != 0) cannot_read(path, std::strerror(errno));
  if (!S_ISREG(facts.st_mode)) cannot_read(path, "it is not a regular file");
  size_ = static_cast<size_t>(facts.st_size);
  if (size_ == 0) return;  // the system maps nothing of no bytes
  void *mapped = mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, file.number, 0);
  if (mapped == MAP_FAILED) cannot_read(path, std::strerror(errno));
  data_ = static_cast<uint8_t *>(mapped);
}

Mapping::Mapping(Mapping &&other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

Mapping::~Mapping() {
  if (data_ != nullptr) munmap(data_, size_);
}

}  // namespace dsc
