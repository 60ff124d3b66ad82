// Matrices in shared memory that wgmma reads, as their descriptors have them.
#pragma once
#include <cstddef>
#include <cstdint>

namespace simulator {

class SharedMemory;

// Rows and depth of a product.
constexpr int kProductRows = 64, kProductDepth = 16;

// PTX ISA, "Matrix Descriptor Format" and "Canonical Layouts": lines of 128 bytes, whose chunks of 16 bytes are
// exchanged by bits of the address.
struct Matrix {
  size_t start = 0;  // offset in shared memory
  size_t leading = 0, stride = 0;
  bool transposed = false;  // neighbours are lines, not steps of depth
  int lines = 0;            // rows of the left one, columns of the right one

  // What is wrong with a descriptor; null if nothing is.
  static const char *decode(uint64_t descriptor, int lines, bool transposed, const SharedMemory &shared,
                            Matrix &matrix);
  // Of an element of 16 bits.
  size_t offset(int line, int depth) const;
  // function(offset) for all pieces of 16 bytes.
  template <class Function>
  void for_each_chunk(Function function) const {
    for (int line = 0; line < lines; line += transposed ? 8 : 1)
      for (int depth = 0; depth < kProductDepth; depth += transposed ? 1 : 8) function(offset(line, depth));
  }
};

}  // namespace simulator
