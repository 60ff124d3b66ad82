// wgmma: products that the four warps of a warpgroup start together, and that are done when they are waited for.
//
// Here they are computed at that time, the latest moment, of what is in shared memory then. Their registers are those
// of a NaN from the start of the first until the last that adds to them is done, and what they read may not be written.
#pragma once
#include <array>
#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "../device/abi.h"
#include "matrix_descriptor.h"
#include "thread.h"

namespace simulator {

// Warps of a warpgroup.
constexpr unsigned kWarpgroup = 4;

// The registers of a warp's lanes that products add to.
struct Accumulators {
  std::array<std::vector<float *>, kCudaWarp> registers;
  std::array<std::vector<float>, kCudaWarp> values;  // what the products that are done made of them
  int products = 0;                                  // that are not done
};

struct GroupProduct {
  const SimulatorWgmma *shape = nullptr;
  Matrix a, b;
  bool accumulates = true;
  std::shared_ptr<Accumulators> sums;
};

// What a warp has started.
struct WarpProducts {
  std::vector<GroupProduct> open;                   // since the last commit
  std::deque<std::vector<GroupProduct>> committed;  // oldest group first
  std::vector<std::shared_ptr<Accumulators>> pending;
  bool fenced = false;  // registers, by wgmma.fence, since products were waited for
  size_t started = 0;

  bool has_any() const { return !open.empty() || !pending.empty(); }
};

// What one of the warps of a warpgroup has started, to compare with the others.
struct StartedProduct {
  const SimulatorWgmma *shape;
  uint64_t a, b;
  bool accumulates;
  bool operator==(const StartedProduct &other) const {
    return shape == other.shape && a == other.a && b == other.b && accumulates == other.accumulates;
  }
};

// Those of a block.
class GroupProducts {
 public:
  void begin_block(unsigned warps);
  WarpProducts &of(unsigned warp) { return warps_[warp]; }
  // Notes what a warp starts; false if it is not what the others of its warpgroup have started in that place.
  bool note(unsigned warp, const StartedProduct &started);
  // A warp that has started fewer than another one of its warpgroup, or -1.
  int behind() const;

 private:
  std::vector<WarpProducts> warps_;
  std::vector<std::vector<StartedProduct>> started_;  // by warpgroup
};

}  // namespace simulator
