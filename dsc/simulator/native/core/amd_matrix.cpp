// MFMA and WMMA: a wavefront multiplies matrices that its lanes hold in registers, laid out as the AMD Matrix
// Instruction Calculator says.
#include <algorithm>
#include <cstring>

#include "../device/amd.h"
#include "collective.h"
#include "fault.h"
#include "number.h"
#include "worker.h"

using namespace simulator;

namespace {

constexpr int kLargest = 32;  // rows, columns, or depth of any of them
constexpr int kHalves = 2;    // of a wavefront, in WMMA
constexpr int kLines = 16;    // rows and columns of WMMA

int bytes_of(int type) {
  switch (type) {
    case SIMULATOR_S8:
    case SIMULATOR_U8:
      return 1;
    case SIMULATOR_F16:
    case SIMULATOR_BF16:
      return 2;
  }
  return 4;
}

double element(int type, const void *registers, int i) {
  const char *at = static_cast<const char *>(registers) + i * bytes_of(type);
  uint32_t bits = 0;
  memcpy(&bits, at, static_cast<size_t>(bytes_of(type)));
  switch (type) {
    case SIMULATOR_S8:
      return static_cast<int8_t>(bits);
    case SIMULATOR_U8:
      return static_cast<uint8_t>(bits);
    case SIMULATOR_F16:
      return half_to_float(static_cast<uint16_t>(bits));
    case SIMULATOR_BF16:
      return bfloat_to_float(static_cast<uint16_t>(bits));
    case SIMULATOR_TF32:
      return tf32_to_float(bits);
    case SIMULATOR_S32:
      return static_cast<int32_t>(bits);
  }
  return float_of(bits);
}

void set(int type, void *registers, int i, double value) {
  uint32_t bits = type == SIMULATOR_S32 ? static_cast<uint32_t>(static_cast<int64_t>(value))
                                        : bits_of(static_cast<float>(value));
  memcpy(static_cast<char *>(registers) + 4 * i, &bits, sizeof(bits));
}

// Of the elements of a factor that a lane holds: which row of a (column of b) they are of, and at what depth the first
// one is. They follow one another in depth.
struct Place {
  int line, depth;
};
Place factor_place(const SimulatorAmdMatrix &what, int lines, int lane) {
  switch (what.layout) {
    case SIMULATOR_MFMA:
      return {lane % lines, lane / lines * (what.k * lines / machine().warp)};
    case SIMULATOR_WMMA_REPEATED:
      return {lane % kLines, 0};
  }
  return {lane % kLines, lane / kLines * (what.k / kHalves)};
}

int factor_elements(const SimulatorAmdMatrix &what, int lines) {
  return what.layout == SIMULATOR_WMMA_REPEATED ? what.k : what.k * lines / machine().warp;
}

// The row of the sum in a lane's register, whose column is the lane's.
int sum_row(const SimulatorAmdMatrix &what, int lane, int i) {
  switch (what.layout) {
    case SIMULATOR_MFMA: {
      int groups = machine().warp / what.n;  // of lanes, each with four rows in turn
      return i / 4 * 4 * groups + lane / what.n * 4 + i % 4;
    }
    case SIMULATOR_WMMA_REPEATED:
      return kHalves * i + lane / kLines;
  }
  return lane / kLines * (what.m / kHalves) + i;
}

struct Product : AlignedCollective {
  const SimulatorAmdMatrix *what;
  const void *a, *b, *c;
  void *d;
  bool is_repeated = true;

  Product(int line, const SimulatorAmdMatrix *what, const void *a, const void *b, const void *c, void *d)
      : AlignedCollective("a matrix instruction", execute_all, reinterpret_cast<const void *>(intptr_t{line})),
        what(what),
        a(a),
        b(b),
        c(c),
        d(d) {}

  static void execute_all(Lanes &lanes) {
    const SimulatorAmdMatrix &what = *static_cast<Product *>(lanes.parts[0])->what;
    if (what.sum == SIMULATOR_S32)
      multiply<double>(lanes, what);  // sums of bytes are exact in a double
    else
      multiply<float>(lanes, what);
  }

  // The elements of a factor by line and depth. Where both halves of a wavefront hold them they must be the same.
  template <class Value>
  static void gather(Lanes &lanes, const SimulatorAmdMatrix &what, int type, int lines, const void *Product::*factor,
                     Value (&matrix)[kLargest][kLargest]) {
    int count = factor_elements(what, lines);
    for_each_lane<Product>(lanes, [&](unsigned number, Product &part) {
      int lane = static_cast<int>(number);
      Place place = factor_place(what, lines, lane);
      if (what.layout == SIMULATOR_WMMA_REPEATED) {
        const auto &first = *static_cast<Product *>(lanes.parts[lane % kLines]);
        size_t bytes = static_cast<size_t>(count * bytes_of(type));
        part.is_repeated &= memcmp(part.*factor, first.*factor, bytes) == 0;
      }
      for (int i = 0; i < count; ++i)
        matrix[place.line][place.depth + i] = static_cast<Value>(element(type, part.*factor, i));
    });
  }

  // Products of floats are summed in single precision, in order of depth.
  template <class Value>
  static void multiply(Lanes &lanes, const SimulatorAmdMatrix &what) {
    Value a[kLargest][kLargest], b[kLargest][kLargest];
    gather(lanes, what, what.a, what.m, &Product::a, a);
    gather(lanes, what, what.b, what.n, &Product::b, b);
    for_each_lane<Product>(lanes, [&](unsigned number, Product &part) {
      int lane = static_cast<int>(number), column = lane % what.n;
      for (int i = 0; i < what.m * what.n / machine().warp; ++i) {
        int row = sum_row(what, lane, i);
        Value sum = static_cast<Value>(element(what.sum, part.c, i));
        for (int k = 0; k < what.k; ++k) sum += a[row][k] * b[column][k];
        double value = static_cast<double>(sum);
        if (what.saturates) value = std::min(std::max(value, -2147483648.0), 2147483647.0);
        set(what.sum, part.d, i, value);
      }
    });
  }
};

}  // namespace

extern "C" void simulator_amd_matrix(int line, const SimulatorAmdMatrix *what, const void *a, const void *b,
                                     const void *c, void *d) {
  Product part(line, what, a, b, c, d);
  take_part(part);
  if (!part.is_repeated)
    fault(__builtin_return_address(0), "multiplies by WMMA with other elements in lane %u than in the one 16 before it",
          Worker::current()->thread().lane);
  Worker &worker = *Worker::current();
  if (worker.thread().lane) return;
  ++worker.counters().matrix_multiplies;
  worker.counters().matrix_macs += static_cast<uint64_t>(what->m) * what->n * what->k;
}
