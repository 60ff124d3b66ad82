#include "matrix_descriptor.h"

#include "shared_memory.h"

namespace simulator {

namespace {

constexpr uint64_t kField = 0x3fff;  // of addresses and strides, in units of 16 bytes
constexpr size_t kWindow = 1 << 18;  // what a field can tell apart
constexpr size_t kChunk = 16, kLine = 128;
constexpr uint64_t kSwizzle128 = 1;
constexpr int kPanel = 64;  // elements of a line

// Shared memory has two parts here, in more than the window: the variable tells which.
bool place(size_t low, const SharedMemory &shared, size_t &found) {
  int places = 0;
  for (size_t offset = low; offset < SharedMemory::kBytes; offset += kWindow)
    if (shared.owner(offset, kChunk)) found = offset, ++places;
  return places == 1;
}

}  // namespace

const char *Matrix::decode(uint64_t descriptor, int lines, bool transposed, const SharedMemory &shared,
                           Matrix &matrix) {
  if (descriptor >> 62 != kSwizzle128)
    return "whose layout the simulator does not know: it knows swizzles of 128 bytes";
  if (descriptor >> 49 & 7) return "with a base offset, which the simulator does not know";
  auto field = [&](int shift) { return static_cast<size_t>(descriptor >> shift & kField) * kChunk; };
  matrix.leading = field(16);
  matrix.stride = field(32);
  matrix.transposed = transposed;
  matrix.lines = lines;
  if (place(field(0), shared, matrix.start)) return nullptr;
  return "of an address that is in no variable of shared memory, or may be in two";
}

size_t Matrix::offset(int line, int depth) const {
  auto at = [](int value) { return static_cast<size_t>(value); };
  size_t found = transposed ? start + at(line / kPanel) * leading + at(depth / 8) * stride + at(depth % 8) * kLine +
                                  at(line % kPanel) * 2
                            : start + at(line / 8) * stride + at(line % 8) * kLine + at(depth) * 2;
  return found ^ (found / kLine % 8 * kChunk);
}

}  // namespace simulator
