// nvcuda::wmma: the layout of a fragment is nobody's business, so here element e of a matrix, row by row, is in lane
// e / (elements of a lane).
#include <cstring>

#include "access.h"
#include "collective.h"
#include "fault.h"
#include "number.h"
#include "worker.h"

using namespace simulator;

namespace {

// Lanes that load or store must agree on the matrix.
struct Agreement : AlignedCollective {
  const void *memory;
  unsigned stride;
  bool agrees = true;

  Agreement(const void *memory, unsigned stride)
      : AlignedCollective("a load or store of wmma", execute_all), memory(memory), stride(stride) {}

  static void execute_all(Lanes &lanes) {
    const auto &first = *static_cast<Agreement *>(lanes.parts[0]);
    for_each_lane<Agreement>(lanes, [&](unsigned, Agreement &part) {
      part.agrees = part.memory == first.memory && part.stride == first.stride;
    });
  }
};

void agree(const void *memory, unsigned stride) {
  Agreement part(memory, stride);
  take_part(part);
  if (!part.agrees) fault(nullptr, "loads or stores a wmma fragment at another address than lane 0");
  Worker &worker = *Worker::current();
  if (worker.thread().lane == 0) ++worker.counters().matrix_loads;
}

// Calls function(offset in the fragment, offset in memory), in bytes, for each element of this lane.
template <class Function>
void for_each_element(const SimulatorTile &tile, unsigned stride, Function function) {
  int elements = tile.rows * tile.columns / static_cast<int>(kCudaWarp);
  int first = elements * static_cast<int>(Worker::current()->thread().lane);
  for (int i = 0; i < elements; ++i) {
    size_t row = static_cast<size_t>(first + i) / tile.columns, column = static_cast<size_t>(first + i) % tile.columns;
    size_t at = tile.row_major ? row * stride + column : column * stride + row;
    function(static_cast<size_t>(i * tile.bytes), at * tile.bytes);
  }
}

struct Multiply : AlignedCollective {
  const SimulatorMma *shape;
  const void *a, *b, *c;
  void *d;

  Multiply(const SimulatorMma *shape, const void *a, const void *b, const void *c, void *d)
      : AlignedCollective("mma_sync of wmma", execute_all, shape), shape(shape), a(a), b(b), c(c), d(d) {}

  static void execute_all(Lanes &lanes);
};

double get(SimulatorType type, const void *fragment, int i) {
  switch (type) {
    case SIMULATOR_F16:
      return half_to_float(static_cast<const uint16_t *>(fragment)[i]);
    case SIMULATOR_BF16:
      return bfloat_to_float(static_cast<const uint16_t *>(fragment)[i]);
    case SIMULATOR_TF32:
      return tf32_to_float(static_cast<const uint32_t *>(fragment)[i]);
    case SIMULATOR_F32:
      return static_cast<const float *>(fragment)[i];
    case SIMULATOR_S8:
      return static_cast<const int8_t *>(fragment)[i];
    case SIMULATOR_U8:
      return static_cast<const uint8_t *>(fragment)[i];
    case SIMULATOR_S32:
      return static_cast<const int32_t *>(fragment)[i];
  }
  __builtin_unreachable();
}

void set(SimulatorType type, void *fragment, int i, double value) {
  if (type == SIMULATOR_F16)
    static_cast<uint16_t *>(fragment)[i] = float_to_half(static_cast<float>(value));
  else if (type == SIMULATOR_F32)
    static_cast<float *>(fragment)[i] = static_cast<float>(value);
  else
    static_cast<int32_t *>(fragment)[i] = static_cast<int32_t>(static_cast<uint32_t>(static_cast<int64_t>(value)));
}

constexpr int kLargest = 32;  // rows or columns of any shape

// The elements of a matrix from the lanes that hold them.
template <class Value>
void gather(Lanes &lanes, SimulatorType type, const void *Multiply::*fragment, int rows, int columns,
            Value (&matrix)[kLargest][kLargest]) {
  int elements = rows * columns / static_cast<int>(kCudaWarp);
  for_each_lane<Multiply>(lanes, [&](unsigned lane, Multiply &part) {
    for (int i = 0; i < elements; ++i) {
      int at = static_cast<int>(lane) * elements + i;
      matrix[at / columns][at % columns] = static_cast<Value>(get(type, part.*fragment, i));
    }
  });
}

// Products of floats are summed as tensor cores do, in single precision; sums of bytes are exact in a double.
template <class Value>
void multiply(Lanes &lanes, const SimulatorMma &shape) {
  Value a[kLargest][kLargest], b[kLargest][kLargest], c[kLargest][kLargest];
  gather(lanes, shape.a, &Multiply::a, shape.m, shape.k, a);
  gather(lanes, shape.b, &Multiply::b, shape.k, shape.n, b);
  gather(lanes, shape.c, &Multiply::c, shape.m, shape.n, c);
  for (int row = 0; row < shape.m; ++row)
    for (int k = 0; k < shape.k; ++k)
      for (int column = 0; column < shape.n; ++column) c[row][column] += a[row][k] * b[k][column];
  int elements = shape.m * shape.n / static_cast<int>(kCudaWarp);
  for_each_lane<Multiply>(lanes, [&](unsigned lane, Multiply &part) {
    for (int i = 0; i < elements; ++i) {
      int at = static_cast<int>(lane) * elements + i;
      set(shape.d, part.d, i, static_cast<double>(c[at / shape.n][at % shape.n]));
    }
  });
}

void Multiply::execute_all(Lanes &lanes) {
  const SimulatorMma &shape = *static_cast<Multiply *>(lanes.parts[0])->shape;
  if (shape.d == SIMULATOR_S32)
    multiply<double>(lanes, shape);
  else
    multiply<float>(lanes, shape);
}

}  // namespace

extern "C" {

void simulator_wmma_load(const SimulatorTile *tile, void *fragment, const void *memory, unsigned stride) {
  agree(memory, stride);
  for_each_element(*tile, stride, [&](size_t in_fragment, size_t in_memory) {
    const char *from = static_cast<const char *>(memory) + in_memory;
    check_access(from, static_cast<size_t>(tile->bytes), Direction::kLoad, nullptr);
    memcpy(static_cast<char *>(fragment) + in_fragment, from, static_cast<size_t>(tile->bytes));
  });
}

void simulator_wmma_store(const SimulatorTile *tile, const void *fragment, void *memory, unsigned stride) {
  agree(memory, stride);
  for_each_element(*tile, stride, [&](size_t in_fragment, size_t in_memory) {
    char *to = static_cast<char *>(memory) + in_memory;
    check_access(to, static_cast<size_t>(tile->bytes), Direction::kStore, nullptr);
    memcpy(to, static_cast<const char *>(fragment) + in_fragment, static_cast<size_t>(tile->bytes));
  });
}

void simulator_wmma_mma(const SimulatorMma *shape, void *d, const void *a, const void *b, const void *c) {
  Multiply part(shape, a, b, c, d);
  take_part(part);
  Worker &worker = *Worker::current();
  if (worker.thread().lane) return;
  ++worker.counters().matrix_multiplies;
  worker.counters().matrix_macs += static_cast<uint64_t>(shape->m) * shape->n * shape->k;
}
}
