#include "warpgroup.h"

namespace simulator {

void GroupProducts::begin_block(unsigned warps) {
  warps_.assign(warps, {});
  started_.assign((warps + kWarpgroup - 1) / kWarpgroup, {});
}

bool GroupProducts::note(unsigned warp, const StartedProduct &started) {
  std::vector<StartedProduct> &all = started_[warp / kWarpgroup];
  size_t number = warps_[warp].started++;
  if (number == all.size()) all.push_back(started);
  return all[number] == started;
}

int GroupProducts::behind() const {
  for (size_t warp = 0; warp < started_.size() * kWarpgroup; ++warp) {
    size_t started = warp < warps_.size() ? warps_[warp].started : 0;
    if (started < started_[warp / kWarpgroup].size()) return static_cast<int>(warp);
  }
  return -1;
}

}  // namespace simulator
