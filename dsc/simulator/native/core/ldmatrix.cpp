// ldmatrix and stmatrix: eight-by-eight matrices of 16-bit elements between shared memory and registers of a warp.
#include <cstring>

#include "access.h"
#include "collective.h"
#include "fault.h"
#include "worker.h"

using namespace simulator;

namespace {

constexpr int kRows = 8;
constexpr size_t kRowBytes = 16;

// Lane 8j + r has row r of matrix j in memory; lane 4r + t has elements 2t and 2t + 1 of row r in a register, or of
// column r if transposed.
struct Exchange : AlignedCollective {
  int matrices;
  bool transposed;
  uint16_t row[kRowBytes / 2];
  uint16_t registers[4][2];

  Exchange(const char *name, void (*execute)(Lanes &), int matrices, bool transposed)
      : AlignedCollective(name, execute, variant_of(matrices, transposed)),
        matrices(matrices),
        transposed(transposed) {}

  // Lanes belong together when these are the same: the address of a byte that stands for both.
  static const void *variant_of(int matrices, bool transposed) {
    static const char variants[16] = {};
    return variants + matrices * 2 + transposed;
  }

  template <class Function>
  static void for_each_element(Lanes &lanes, Function function) {
    for_each_lane<Exchange>(lanes, [&](unsigned lane, Exchange &part) {
      for (int matrix = 0; matrix < part.matrices; ++matrix)
        for (int half = 0; half < 2; ++half) {
          int outer = static_cast<int>(lane) / 4, inner = static_cast<int>(lane) % 4 * 2 + half;
          int row = part.transposed ? inner : outer, column = part.transposed ? outer : inner;
          Exchange &memory = *static_cast<Exchange *>(lanes.parts[matrix * kRows + row]);
          function(part.registers[matrix][half], memory.row[column]);
        }
    });
  }
  static void to_registers(Lanes &lanes) {
    for_each_element(lanes, [](uint16_t &in_register, uint16_t &in_row) { in_register = in_row; });
  }
  static void to_rows(Lanes &lanes) {
    for_each_element(lanes, [](uint16_t &in_register, uint16_t &in_row) { in_row = in_register; });
  }
};

// The row of this lane in shared memory, or null if it has none.
void *row_of(int matrices, uint32_t address, Direction direction, const void *site) {
  Worker &worker = *Worker::current();
  if (worker.thread().lane == 0) ++worker.counters().matrix_loads;
  if (static_cast<int>(worker.thread().lane) >= matrices * kRows) return nullptr;
  void *row = simulator_shared_pointer(address);
  check_alignment(row, kRowBytes, direction == Direction::kLoad ? "ldmatrix reads a row" : "stmatrix writes a row");
  if (!worker.shared_memory().contains(row)) check_shared_bounds(row, kRowBytes, direction, site);
  check_access(row, kRowBytes, direction, site);
  return row;
}

}  // namespace

extern "C" {

void simulator_ldmatrix(int matrices, bool transposed, uint32_t address, uint32_t *registers) {
  Exchange part("ldmatrix", Exchange::to_registers, matrices, transposed);
  if (const void *row = row_of(matrices, address, Direction::kLoad, __builtin_return_address(0)))
    memcpy(part.row, row, kRowBytes);
  take_part(part);
  memcpy(registers, part.registers, sizeof(uint32_t) * static_cast<size_t>(matrices));
}

void simulator_stmatrix(int matrices, bool transposed, uint32_t address, const uint32_t *registers) {
  Exchange part("stmatrix", Exchange::to_rows, matrices, transposed);
  memcpy(part.registers, registers, sizeof(uint32_t) * static_cast<size_t>(matrices));
  take_part(part);
  if (void *row = row_of(matrices, address, Direction::kStore, __builtin_return_address(0)))
    memcpy(row, part.row, kRowBytes);
}
}
