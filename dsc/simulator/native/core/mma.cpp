// mma.sync: a warp multiplies matrices that its lanes hold in registers, laid out as the PTX ISA says ("Matrix
// Fragments for mma.m16n8k16" and its neighbours).
#include <algorithm>
#include <type_traits>

#include "../device/abi.h"
#include "collective.h"
#include "fault.h"
#include "number.h"
#include "worker.h"

using namespace simulator;

namespace {

// How a register holds elements of an operand, and what they are multiplied as.
template <SimulatorType>
struct Operand;
template <>
struct Operand<SIMULATOR_F16> {
  static constexpr int kPerRegister = 2;
  using Value = float;
  static Value get(uint32_t bits, int i) { return half_to_float(static_cast<uint16_t>(bits >> 16 * i)); }
};
template <>
struct Operand<SIMULATOR_BF16> {
  static constexpr int kPerRegister = 2;
  using Value = float;
  static Value get(uint32_t bits, int i) { return bfloat_to_float(static_cast<uint16_t>(bits >> 16 * i)); }
};
template <>
struct Operand<SIMULATOR_TF32> {
  static constexpr int kPerRegister = 1;
  using Value = float;
  static Value get(uint32_t bits, int) { return tf32_to_float(bits); }
};
template <>
struct Operand<SIMULATOR_S8> {
  static constexpr int kPerRegister = 4;
  using Value = int32_t;
  static Value get(uint32_t bits, int i) { return static_cast<int8_t>(bits >> 8 * i); }
};
template <>
struct Operand<SIMULATOR_U8> {
  static constexpr int kPerRegister = 4;
  using Value = int32_t;
  static Value get(uint32_t bits, int i) { return static_cast<uint8_t>(bits >> 8 * i); }
};

// Accumulators of 32 bits are one a register, halves are two. `index` counts a lane's elements.
float get_accumulator(SimulatorType type, const uint32_t *registers, int index, float) {
  return type == SIMULATOR_F32 ? float_of(registers[index])
                               : half_to_float(static_cast<uint16_t>(registers[index / 2] >> 16 * (index % 2)));
}
int32_t get_accumulator(SimulatorType, const uint32_t *registers, int index, int32_t) {
  return static_cast<int32_t>(registers[index]);
}

void set_accumulator(SimulatorType type, uint32_t *registers, int index, float value) {
  if (type == SIMULATOR_F32) {
    registers[index] = bits_of(value);
    return;
  }
  uint32_t half = float_to_half(value), shift = 16u * (index % 2);
  registers[index / 2] = (registers[index / 2] & ~(0xffffu << shift)) | half << shift;
}
void set_accumulator(SimulatorType, uint32_t *registers, int index, int32_t value) {
  registers[index] = static_cast<uint32_t>(value);
}

struct Mma : AlignedCollective {
  const SimulatorMma *shape;
  const uint32_t *a, *b, *c;
  uint32_t *d;

  Mma(void (*execute)(Lanes &), const SimulatorMma *shape, const uint32_t *a, const uint32_t *b, const uint32_t *c,
      uint32_t *d)
      : AlignedCollective("mma.sync", execute, shape), shape(shape), a(a), b(b), c(c), d(d) {}
};

// Lane 4g + t holds of a: rows g and g + 8, columns from t times the elements of a register, then four registers on;
// of b: column g, rows likewise; of c and d: rows g and g + 8, columns 2t and 2t + 1.
template <int M, int N, int K, SimulatorType A, SimulatorType B>
void multiply(Lanes &lanes) {
  using Value = typename Operand<A>::Value;
  using Sum = std::conditional_t<std::is_same_v<Value, float>, float, int64_t>;
  constexpr int kWide = Operand<A>::kPerRegister, kRowGroups = M / 8;
  Value a[M][K], b[K][N];
  for_each_lane<Mma>(lanes, [&](unsigned lane, Mma &part) {
    int group = static_cast<int>(lane) / 4, t = static_cast<int>(lane) % 4;
    for (int q = 0; q < M * K / 32 / kWide; ++q)
      for (int i = 0; i < kWide; ++i)
        a[group + q % kRowGroups * 8][t * kWide + i + q / kRowGroups * 4 * kWide] = Operand<A>::get(part.a[q], i);
    for (int q = 0; q < N * K / 32 / kWide; ++q)
      for (int i = 0; i < kWide; ++i) b[t * kWide + i + q * 4 * kWide][group] = Operand<B>::get(part.b[q], i);
  });
  Sum sums[M][N] = {};
  for (int row = 0; row < M; ++row)
    for (int k = 0; k < K; ++k)
      for (int column = 0; column < N; ++column) sums[row][column] += static_cast<Sum>(a[row][k] * b[k][column]);
  for_each_lane<Mma>(lanes, [&](unsigned lane, Mma &part) {
    for (int i = 0; i < M * N / 32; ++i) {
      int row = static_cast<int>(lane) / 4 + i / 2 * 8, column = static_cast<int>(lane) % 4 * 2 + i % 2;
      Sum sum = sums[row][column] + static_cast<Sum>(get_accumulator(part.shape->c, part.c, i, Value{}));
      if (part.shape->saturates) sum = std::min<Sum>(std::max<Sum>(sum, INT32_MIN), INT32_MAX);
      set_accumulator(part.shape->d, part.d, i, static_cast<Value>(sum));
    }
  });
}

// m8n8k4 of sm_70: four products at once, each of a quad of lanes and the quad 16 lanes on (PTX ISA, "Matrix Fragments
// for mma.m8n8k4 with .f16 floating point type"). Lane i of a quad holds row (column) i of a (b), the second quad's
// four further down; a is row-major and b column-major.
void multiply_quads(Lanes &lanes) {
  float a[4][8][4], b[4][4][8];
  auto quad = [](unsigned lane) { return lane / 4 % 4; };
  auto line = [](unsigned lane) { return lane % 4 + lane / 16 * 4; };
  for_each_lane<Mma>(lanes, [&](unsigned lane, Mma &part) {
    for (int k = 0; k < 4; ++k) {
      a[quad(lane)][line(lane)][k] = Operand<SIMULATOR_F16>::get(part.a[k / 2], k % 2);
      b[quad(lane)][k][line(lane)] = Operand<SIMULATOR_F16>::get(part.b[k / 2], k % 2);
    }
  });
  auto row_of = [&](SimulatorType type, unsigned lane, int i) {
    return type == SIMULATOR_F16 ? line(lane) : (lane & 1) + (i & 2) + lane / 16 * 4;
  };
  auto column_of = [](SimulatorType type, unsigned lane, int i) {
    return type == SIMULATOR_F16 ? i : (i & 4) + static_cast<int>(lane & 2) + (i & 1);
  };
  for_each_lane<Mma>(lanes, [&](unsigned lane, Mma &part) {
    for (int i = 0; i < 8; ++i) {
      unsigned row = row_of(part.shape->d, lane, i);
      int column = column_of(part.shape->d, lane, i);
      float sum = get_accumulator(part.shape->c, part.c, i, 0.0f);
      for (int k = 0; k < 4; ++k) sum += a[quad(lane)][row][k] * b[quad(lane)][k][column];
      set_accumulator(part.shape->d, part.d, i, sum);
    }
  });
}

// mma.sp: of each four columns of a row of a two are there, and metadata says which, by two bits for one, the lowest
// first. A word of it has 8 halves of each of the rows g and g + 8, or 16 bytes of one of these; of a quad as many lanes
// as give it the selector says which (PTX ISA, "Warp-level matrix instructions for sparse mma"; CUTLASS, reorder_meta).
struct SparseMma : AlignedCollective {
  const SimulatorMma *shape;
  const uint32_t *a, *b, *c;
  uint32_t metadata, selector;
  uint32_t *d;

  SparseMma(void (*execute)(Lanes &), const SimulatorMma *shape, const uint32_t *a, const uint32_t *b,
            const uint32_t *c, uint32_t metadata, uint32_t selector, uint32_t *d)
      : AlignedCollective("mma.sp", execute, shape), shape(shape), a(a), b(b), c(c), metadata(metadata),
        selector(selector), d(d) {}
};

template <int K, SimulatorType A, SimulatorType B>
void multiply_sparse(Lanes &lanes) {
  using Value = typename Operand<A>::Value;
  using Sum = std::conditional_t<std::is_same_v<Value, float>, float, int64_t>;
  constexpr int kRows = 16, kColumns = 8, kStored = K / 2, kWide = Operand<A>::kPerRegister;
  constexpr bool kBytes = kWide == 4;
  Value stored[kRows][kStored], b[K][kColumns];
  uint32_t metadata[kCudaWarp], places[kRows][kStored], selector = 0;
  for_each_lane<SparseMma>(lanes, [&](unsigned lane, SparseMma &part) {
    int group = static_cast<int>(lane) / 4, t = static_cast<int>(lane) % 4;
    for (int q = 0; q < kRows * kStored / 32 / kWide; ++q)
      for (int i = 0; i < kWide; ++i)
        stored[group + q % 2 * 8][t * kWide + i + q / 2 * 4 * kWide] = Operand<A>::get(part.a[q], i);
    for (int q = 0; q < K * kColumns / 32 / kWide; ++q)
      for (int i = 0; i < kWide; ++i) b[t * kWide + i + q * 4 * kWide][group] = Operand<B>::get(part.b[q], i);
    metadata[lane] = part.metadata;
    selector = part.selector;
  });
  for (int row = 0; row < kRows; ++row)
    for (int i = 0; i < kStored; i += 2) {
      uint32_t giving = static_cast<uint32_t>(row % 8 * 4 + (kBytes ? i / 16 * 2 + row / 8 : i / 8));
      uint32_t word = metadata[giving + selector * (kStored / 8)];
      int shift = kBytes ? i % 16 * 2 : row / 8 * 16 + i % 8 * 2;
      uint32_t first = word >> shift & 3, second = word >> (shift + 2) & 3;
      places[row][i] = static_cast<uint32_t>(i * 2) + first;
      places[row][i + 1] = static_cast<uint32_t>(i * 2) + second;
    }
  for_each_lane<SparseMma>(lanes, [&](unsigned lane, SparseMma &part) {
    for (int i = 0; i < 4; ++i) {
      int row = static_cast<int>(lane) / 4 + i / 2 * 8, column = static_cast<int>(lane) % 4 * 2 + i % 2;
      Sum sum = 0;
      for (int k = 0; k < kStored; ++k) sum += static_cast<Sum>(stored[row][k] * b[places[row][k]][column]);
      sum += static_cast<Sum>(get_accumulator(part.shape->c, part.c, i, Value{}));
      set_accumulator(part.shape->d, part.d, i, static_cast<Value>(sum));
    }
  });
}

struct Row {
  SimulatorMma shape;
  void (*execute)(Lanes &);
};

#define SIMULATOR_ROW(m, n, k, a, b, c, saturates)                                   \
  {{m, n, k, SIMULATOR_##a, SIMULATOR_##b, SIMULATOR_##c, SIMULATOR_##c, saturates}, \
   multiply<m, n, k, SIMULATOR_##a, SIMULATOR_##b>}
#define SIMULATOR_INTEGER_ROWS(m, n, k, saturates)                                                \
  SIMULATOR_ROW(m, n, k, S8, S8, S32, saturates), SIMULATOR_ROW(m, n, k, S8, U8, S32, saturates), \
      SIMULATOR_ROW(m, n, k, U8, S8, S32, saturates), SIMULATOR_ROW(m, n, k, U8, U8, S32, saturates)

// All there is: the rows of dsc/simulator/instructions/matrix.py have a row here.
const Row kRows[] = {
    SIMULATOR_ROW(16, 8, 16, F16, F16, F32, false),
    SIMULATOR_ROW(16, 8, 16, F16, F16, F16, false),
    SIMULATOR_ROW(16, 8, 8, F16, F16, F32, false),
    SIMULATOR_ROW(16, 8, 8, F16, F16, F16, false),
    SIMULATOR_ROW(16, 8, 16, BF16, BF16, F32, false),
    SIMULATOR_ROW(16, 8, 8, BF16, BF16, F32, false),
    SIMULATOR_ROW(16, 8, 8, TF32, TF32, F32, false),
    SIMULATOR_ROW(16, 8, 4, TF32, TF32, F32, false),
    SIMULATOR_INTEGER_ROWS(16, 8, 32, false),
    SIMULATOR_INTEGER_ROWS(16, 8, 32, true),
    SIMULATOR_INTEGER_ROWS(16, 8, 16, false),
    SIMULATOR_INTEGER_ROWS(16, 8, 16, true),
    SIMULATOR_INTEGER_ROWS(8, 8, 16, false),
    SIMULATOR_INTEGER_ROWS(8, 8, 16, true),
    {{8, 8, 4, SIMULATOR_F16, SIMULATOR_F16, SIMULATOR_F32, SIMULATOR_F32, false}, multiply_quads},
    {{8, 8, 4, SIMULATOR_F16, SIMULATOR_F16, SIMULATOR_F16, SIMULATOR_F16, false}, multiply_quads},
};

#define SIMULATOR_SPARSE_ROW(k, a, b, c)                                          \
  {{16, 8, k, SIMULATOR_##a, SIMULATOR_##b, SIMULATOR_##c, SIMULATOR_##c, false}, \
   multiply_sparse<k, SIMULATOR_##a, SIMULATOR_##b>}

const Row kSparseRows[] = {
    SIMULATOR_SPARSE_ROW(16, F16, F16, F32),   SIMULATOR_SPARSE_ROW(32, F16, F16, F32),
    SIMULATOR_SPARSE_ROW(16, BF16, BF16, F32), SIMULATOR_SPARSE_ROW(32, BF16, BF16, F32),
    SIMULATOR_SPARSE_ROW(64, S8, S8, S32),     SIMULATOR_SPARSE_ROW(64, S8, U8, S32),
    SIMULATOR_SPARSE_ROW(64, U8, S8, S32),     SIMULATOR_SPARSE_ROW(64, U8, U8, S32),
};

template <size_t kCount>
const Row *find(const Row (&rows)[kCount], const SimulatorMma &shape) {
  for (const Row &row : rows)
    if (row.shape.m == shape.m && row.shape.n == shape.n && row.shape.k == shape.k && row.shape.a == shape.a &&
        row.shape.b == shape.b && row.shape.c == shape.c && row.shape.d == shape.d &&
        row.shape.saturates == shape.saturates)
      return &row;
  return nullptr;
}

}  // namespace

extern "C" void simulator_mma(const SimulatorMma *shape, const uint32_t *a, const uint32_t *b, const uint32_t *c,
                              uint32_t *d) {
  const Row *row = find(kRows, *shape);
  if (!row) fault(nullptr, "executes an mma.sync that the simulator does not know");
  uint32_t result[8];  // d may be c
  Mma part(row->execute, &row->shape, a, b, c, result);
  take_part(part);
  bool is_half = shape->d == SIMULATOR_F16;
  int products = shape->k == 4 && shape->m == 8 ? 4 : 1;
  int registers = shape->m * shape->n * products / static_cast<int>(kCudaWarp) / (is_half ? 2 : 1);
  memcpy(d, result, sizeof(uint32_t) * static_cast<size_t>(registers));
  Worker &worker = *Worker::current();
  if (worker.thread().lane) return;
  ++worker.counters().matrix_multiplies;
  worker.counters().matrix_macs += static_cast<uint64_t>(shape->m) * shape->n * shape->k * products;
}

extern "C" void simulator_mma_sp(const SimulatorMma *shape, const uint32_t *a, const uint32_t *b, const uint32_t *c,
                                 uint32_t metadata, uint32_t selector, uint32_t *d) {
  const Row *row = find(kSparseRows, *shape);
  if (!row) fault(nullptr, "executes an mma.sp that the simulator does not know");
  if (selector >= 64u / static_cast<uint32_t>(shape->k)) fault(nullptr, "executes an mma.sp with a selector that there is not");
  uint32_t giving = static_cast<uint32_t>(shape->k) / 16;
  if (Worker::current()->thread().lane % 4 / giving == selector)
    for (int shift = 0; shift < 32; shift += 4)
      if ((metadata >> shift & 3) >= (metadata >> (shift + 2) & 3))
        fault(nullptr, "executes an mma.sp whose metadata is not in order");
  uint32_t result[4];  // d may be c
  SparseMma part(row->execute, &row->shape, a, b, c, metadata, selector, result);
  take_part(part);
  memcpy(d, result, sizeof result);
  Worker &worker = *Worker::current();
  if (worker.thread().lane) return;
  ++worker.counters().matrix_multiplies;
  worker.counters().matrix_macs += static_cast<uint64_t>(shape->m) * shape->n * shape->k / 2;
}
