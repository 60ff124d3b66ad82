#include "order.h"

#include <algorithm>
#include <numeric>

namespace simulator {

Order::Order(OrderKind kind, uint64_t seed, uint64_t stream) : kind_(kind), state_(seed * 2 + 1) {
  state_ ^= (stream + 1) * 0xd1342543de82ef95u;
}

const std::vector<unsigned> &Order::next(unsigned count) {
  bool is_new = numbers_.size() != count;
  if (is_new) {
    numbers_.resize(count);
    std::iota(numbers_.begin(), numbers_.end(), 0u);
    if (kind_ == OrderKind::kReverse) std::reverse(numbers_.begin(), numbers_.end());
  }
  if (kind_ == OrderKind::kRandom)
    for (unsigned i = count; i > 1; --i) std::swap(numbers_[i - 1], numbers_[random() % i]);
  return numbers_;
}

// Splitmix64: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014.
uint64_t Order::random() {
  uint64_t z = state_ += 0x9e3779b97f4a7c15u;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
  z = (z ^ z >> 27) * 0x94d049bb133111ebu;
  return z ^ z >> 31;
}

}  // namespace simulator
