// The order in which lanes, warps and blocks are run: CUDA promises none, so a kernel must be right in all.
#pragma once
#include <cstdint>
#include <vector>

#include "machine.h"

namespace simulator {

class Order {
 public:
  // `stream` tells apart those that use one seed.
  Order(OrderKind kind, uint64_t seed, uint64_t stream);
  // The numbers 0 to count - 1; another permutation each time if it is random.
  const std::vector<unsigned> &next(unsigned count);

 private:
  uint64_t random();

  OrderKind kind_;
  uint64_t state_;
  std::vector<unsigned> numbers_;
};

}  // namespace simulator
