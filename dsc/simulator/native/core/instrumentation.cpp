// What the compiler puts into kernels, and expects from the runtimes of its sanitizers. Those are not linked; these
// functions take their place.
#include "../device/abi.h"
#include "access.h"
#include "fault.h"
#include "worker.h"

using namespace simulator;

// -fsanitize=thread: called before every access that others may see; those to local variables whose address is not
// taken are not among them.
namespace {

void checked(const void *address, size_t size, Direction direction, const void *site) {
  if (!Worker::current()) return;  // while a library is loaded
  if (reinterpret_cast<uintptr_t>(address) % size)
    fault(site, "%s %zu bytes at address %p, which is not a multiple of %zu",
          direction == Direction::kLoad ? "reads" : "writes", size, address, size);
  check_access(address, size, direction, site);
}

// Structures of other sizes are moved by several instructions of a device, the widest that fit. Each is an instruction
// of its own: one byte further it is another.
void checked_parts(const void *address, size_t size, Direction direction, const void *site) {
  size_t part = size % 16 == 0 ? 16 : size % 8 == 0 ? 8 : size % 4 == 0 ? 4 : 1;
  for (size_t at = 0; at < size; at += part)
    check_access(static_cast<const char *>(address) + at, part, direction, static_cast<const char *>(site) + at / part);
}

}  // namespace

#pragma GCC visibility push(default)
extern "C" {

void __tsan_init() {}

#define SIMULATOR_ACCESS(size)                                                                                       \
  void __tsan_read##size(void *address) { checked(address, size, Direction::kLoad, __builtin_return_address(0)); }   \
  void __tsan_write##size(void *address) { checked(address, size, Direction::kStore, __builtin_return_address(0)); } \
  /* Of accesses whose type promises less than their size: a device takes them in parts. */                          \
  void __tsan_unaligned_read##size(void *address) {                                                                  \
    check_access(address, size, Direction::kLoad, __builtin_return_address(0));                                      \
  }                                                                                                                  \
  void __tsan_unaligned_write##size(void *address) {                                                                 \
    check_access(address, size, Direction::kStore, __builtin_return_address(0));                                     \
  }
SIMULATOR_ACCESS(1)
SIMULATOR_ACCESS(2)
SIMULATOR_ACCESS(4)
SIMULATOR_ACCESS(8)
SIMULATOR_ACCESS(16)

void __tsan_read_range(void *address, size_t size) {
  checked_parts(address, size, Direction::kLoad, __builtin_return_address(0));
}
void __tsan_write_range(void *address, size_t size) {
  checked_parts(address, size, Direction::kStore, __builtin_return_address(0));
}

// -fsanitize=bounds and alignment: called when an index is outside of an array whose size the compiler knows, and when
// an address does not fit its type. The data begin with the place in the source.
struct SourcePlace {
  const char *file;
  unsigned line, column;
};

void __ubsan_handle_out_of_bounds(const SourcePlace *place, size_t index) {
  fault(nullptr, "uses index %zd of an array that has fewer elements, in line %u", static_cast<ssize_t>(index),
        place->line);
}

struct TypeMismatch {
  SourcePlace place;
  const void *type;
  unsigned char alignment;  // its logarithm
  unsigned char kind;
};

void __ubsan_handle_type_mismatch_v1(const TypeMismatch *data, size_t address) {
  fault(nullptr, "accesses address 0x%zx in line %u, which must be a multiple of %u", address, data->place.line,
        1u << data->alignment);
}
}
#pragma GCC visibility pop
