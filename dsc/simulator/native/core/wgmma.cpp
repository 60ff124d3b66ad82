// wgmma: what kernels call.
#include <cstring>

#include "access.h"
#include "collective.h"
#include "fault.h"
#include "number.h"
#include "worker.h"

using namespace simulator;

namespace {

constexpr size_t kChunk = 16;  // of a matrix, that lies together
constexpr int kPass = 128;     // bytes that shared memory gives at once
constexpr uint32_t kPoison = 0xffffffff;

float element(SimulatorType type, const char *memory) {
  uint16_t bits;
  memcpy(&bits, memory, sizeof(bits));
  return type == SIMULATOR_F16 ? half_to_float(bits) : bfloat_to_float(bits);
}

// Lane 4g + t has, of every 8 columns, 2t and 2t + 1 of rows g and g + 8 of the warp's 16 (PTX ISA, "Matrix Fragments
// for wgmma.mma_async.m64nNk16").
int row_of(unsigned lane, size_t i) { return static_cast<int>(lane / 4 + i / 2 % 2 * 8); }
int column_of(unsigned lane, size_t i) { return static_cast<int>(i / 4 * 8 + lane % 4 * 2 + i % 2); }

// The 16 rows of a warp.
void compute(const GroupProduct &product, unsigned warp, const char *shared) {
  constexpr int kRows = kProductRows / kWarpgroup;
  float a[kRows][kProductDepth], b[kProductDepth][256], sums[kRows][256] = {};
  int columns = product.b.lines, first = static_cast<int>(warp % kWarpgroup) * kRows;
  float sign = static_cast<float>(product.shape->sign_a * product.shape->sign_b);
  for (int k = 0; k < kProductDepth; ++k) {
    for (int row = 0; row < kRows; ++row)
      a[row][k] = sign * element(product.shape->type, shared + product.a.offset(first + row, k));
    for (int column = 0; column < columns; ++column)
      b[k][column] = element(product.shape->type, shared + product.b.offset(column, k));
  }
  for (int k = 0; k < kProductDepth; ++k)
    for (int row = 0; row < kRows; ++row)
      for (int column = 0; column < columns; ++column) sums[row][column] += a[row][k] * b[k][column];
  for (unsigned lane = 0; lane < kCudaWarp; ++lane) {
    std::vector<float> &values = product.sums->values[lane];
    for (size_t i = 0; i < values.size(); ++i) {
      float sum = sums[row_of(lane, i)][column_of(lane, i)];
      values[i] = product.accumulates ? values[i] + sum : sum;
    }
  }
}

// What a lane brings to a step of its warp; `problem` is what broke a rule, if anything did.
struct Part : AlignedCollective {
  unsigned warp;
  const char *problem = nullptr;

  Part(const char *name, void (*execute)(Lanes &), const void *variant)
      : AlignedCollective(name, execute, variant), warp(Worker::current()->thread().warp) {}
};

template <class Each>
void blame(Lanes &lanes, const char *problem) {
  for_each_lane<Each>(lanes, [&](unsigned, Each &part) { part.problem = problem; });
}

struct Start : Part {
  StartedProduct what;
  Matrix a, b;
  float *const *registers;

  Start(const StartedProduct &what, Matrix a, Matrix b, float *const *registers)
      : Part("wgmma.mma_async", execute, what.shape), what(what), a(a), b(b), registers(registers) {}

  size_t count() const { return static_cast<size_t>(what.shape->n) / 2; }

  static void execute(Lanes &lanes) {
    Start &first = *static_cast<Start *>(lanes.parts[0]);
    Worker &worker = *Worker::current();
    WarpProducts &products = worker.products().of(first.warp);
    bool agree = true;
    for_each_lane<Start>(lanes, [&](unsigned, Start &part) { agree &= part.what == first.what; });
    if (!agree) return blame<Start>(lanes, "executes wgmma with other matrices than other lanes of its warp");
    if (!worker.products().note(first.warp, first.what))
      return blame<Start>(lanes, "executes wgmma with other matrices than another warp of its warpgroup");
    std::shared_ptr<Accumulators> sums = accumulators(lanes, products);
    if (!sums) return;
    ++sums->products;
    products.open.push_back({first.what.shape, first.a, first.b, first.what.accumulates, sums});
  }

  // Those that lanes give; null, with all told, if they break a rule.
  static std::shared_ptr<Accumulators> accumulators(Lanes &lanes, WarpProducts &products) {
    for (const auto &each : products.pending) {
      bool same = true, other = true;
      for_each_lane<Start>(lanes, [&](unsigned lane, Start &part) {
        std::vector<float *> given(part.registers, part.registers + part.count());
        same &= given == each->registers[lane];
        other &= given.front() != each->registers[lane].front();
      });
      if (same) return each;
      if (other) continue;
      blame<Start>(lanes, "gives wgmma some of the registers of another one that is not waited for");
      return nullptr;
    }
    if (!products.fenced) {
      blame<Start>(lanes, "executes wgmma without wgmma.fence since its registers could be written");
      return nullptr;
    }
    auto made = std::make_shared<Accumulators>();
    for_each_lane<Start>(lanes, [&](unsigned lane, Start &part) {
      made->registers[lane].assign(part.registers, part.registers + part.count());
      for (float *each : made->registers[lane]) {
        made->values[lane].push_back(*each);
        *each = float_of(kPoison);
      }
    });
    products.pending.push_back(made);
    return made;
  }
};

struct Wait : Part {
  size_t left;

  explicit Wait(size_t left) : Part("wgmma.wait_group", execute, nullptr), left(left) {}

  static void execute(Lanes &lanes) {
    Wait &first = *static_cast<Wait *>(lanes.parts[0]);
    Worker &worker = *Worker::current();
    WarpProducts &products = worker.products().of(first.warp);
    for (; products.committed.size() > first.left; products.committed.pop_front())
      for (const GroupProduct &product : products.committed.front()) {
        compute(product, first.warp, worker.shared_memory().base());
        --product.sums->products;
      }
    for (size_t i = 0; i < products.pending.size();) {
      const std::shared_ptr<Accumulators> sums = products.pending[i];
      if (sums->products) {
        ++i;
        continue;
      }
      if (!publish(*sums)) blame<Wait>(lanes, "has written a register of a wgmma that it had not waited for");
      products.pending.erase(products.pending.begin() + static_cast<std::ptrdiff_t>(i));
      products.fenced = false;
    }
  }

  // False if the kernel has written one.
  static bool publish(const Accumulators &sums) {
    bool untouched = true;
    for (unsigned lane = 0; lane < kCudaWarp; ++lane)
      for (size_t i = 0; i < sums.values[lane].size(); ++i) {
        float *to = sums.registers[lane][i];
        untouched &= bits_of(*to) == kPoison;
        *to = sums.values[lane][i];
      }
    return untouched;
  }
};

Matrix decoded(uint64_t descriptor, int lines, bool transposed, const void *site) {
  Matrix matrix;
  const char *problem = Matrix::decode(descriptor, lines, transposed, Worker::current()->shared_memory(), matrix);
  if (problem)
    fault(site, "gives wgmma a matrix descriptor (0x%016llx) %s", static_cast<unsigned long long>(descriptor), problem);
  return matrix;
}

// All of a matrix may be read, from now until the product is waited for.
void begin_reading(const Matrix &matrix, const void *site) {
  Worker &worker = *Worker::current();
  matrix.for_each_chunk([&](size_t offset) {
    check_shared_bounds(worker.shared_memory().base() + offset, kChunk, Direction::kLoad, site);
    check_matrix_read(offset, kChunk, site);
    if (worker.is_checked()) worker.shadow().begin_matrix_read(offset);
  });
}

void end_reading(const Matrix &matrix) {
  Worker &worker = *Worker::current();
  if (!worker.is_checked()) return;
  matrix.for_each_chunk([&](size_t offset) {
    worker.shadow().end_matrix_read(offset);
    check_matrix_read(offset, kChunk, nullptr);
  });
}

// An instruction of a warpgroup reads both matrices once, without conflicts.
void count_passes(Worker &worker, int lines) {
  if (!worker.is_checked() || worker.thread().warp % kWarpgroup) return;
  uint64_t passes = static_cast<uint64_t>(lines) * kProductDepth * 2 / kPass;
  worker.counters().shared_wavefronts += passes;
  worker.counters().shared_wavefronts_ideal += passes;
}

void check_machine(const void *site) {
  if (machine().major != 9) fault(site, "executes wgmma, which only sm_90 has");
}

bool is_leader() { return Worker::current()->thread().lane == 0; }
WarpProducts &own_products() {
  Worker &worker = *Worker::current();
  return worker.products().of(worker.thread().warp);
}

}  // namespace

extern "C" {

void simulator_wgmma(const SimulatorWgmma *shape, uint64_t a, uint64_t b, bool accumulates, float *const *registers) {
  const void *site = __builtin_return_address(0);
  check_machine(site);
  Matrix left = decoded(a, kProductRows, shape->a_transposed, site);
  Matrix right = decoded(b, shape->n, shape->b_transposed, site);
  Worker &worker = *Worker::current();
  if (is_leader()) {
    begin_reading(left, site);
    begin_reading(right, site);
    count_passes(worker, kProductRows + shape->n);
    ++worker.counters().matrix_multiplies;
    worker.counters().matrix_macs += static_cast<uint64_t>(kProductRows / kWarpgroup) * shape->n * kProductDepth;
  }
  Start part({shape, a, b, accumulates}, left, right, registers);
  take_part(part);
  if (part.problem) fault(site, "%s", part.problem);
}

void simulator_wgmma_fence() {
  check_machine(__builtin_return_address(0));
  if (is_leader()) own_products().fenced = true;
}

void simulator_wgmma_commit() {
  if (!is_leader()) return;
  WarpProducts &products = own_products();
  products.committed.push_back(std::move(products.open));
  products.open.clear();
}

void simulator_wgmma_wait(int groups_left) {
  const void *site = __builtin_return_address(0);
  size_t left = static_cast<size_t>(groups_left);
  if (is_leader()) {
    const auto &groups = own_products().committed;
    for (size_t i = 0; i + left < groups.size(); ++i)
      for (const GroupProduct &product : groups[i]) {
        end_reading(product.a);
        end_reading(product.b);
      }
  }
  Wait part(left);
  take_part(part);
  if (part.problem) fault(site, "%s", part.problem);
}

void simulator_proxy_fence() {
  Worker &worker = *Worker::current();
  worker.shadow().fence_proxy(worker.thread());
}
}
