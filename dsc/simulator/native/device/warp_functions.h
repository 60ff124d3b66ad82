// What the lanes of a warp do together, and products of four bytes.
#pragma once

// The third operand of PTX's shfl for segments of `width` lanes; shfl.up counts down to the segment's first lane.
inline uint32_t simulator_clamp(SimulatorShuffle mode, int width) {
  return static_cast<uint32_t>((32 - width) << 8 | (mode == SIMULATOR_SHUFFLE_UP ? 0 : 31));
}

template <class T>
inline T simulator_shuffled(SimulatorMask mask, SimulatorShuffle mode, T value, int operand, int width) {
  static_assert(sizeof(T) <= 8, "a shuffle moves numbers of up to 8 bytes");
  uint32_t words[2] = {}, moved[2] = {};
  memcpy(words, &value, sizeof(T));
  bool inside;
  for (size_t i = 0; i < (sizeof(T) + 3) / 4; ++i)
    moved[i] = simulator_shuffle(mask, mode, words[i], operand, simulator_clamp(mode, width), &inside);
  memcpy(&value, moved, sizeof(T));
  return value;
}

template <class T>
inline T __shfl_sync(unsigned mask, T value, int lane, int width = 32) {
  return simulator_shuffled(mask, SIMULATOR_SHUFFLE_INDEX, value, lane, width);
}
template <class T>
inline T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32) {
  return simulator_shuffled(mask, SIMULATOR_SHUFFLE_UP, value, static_cast<int>(delta), width);
}
template <class T>
inline T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32) {
  return simulator_shuffled(mask, SIMULATOR_SHUFFLE_DOWN, value, static_cast<int>(delta), width);
}
template <class T>
inline T __shfl_xor_sync(unsigned mask, T value, int lanes, int width = 32) {
  return simulator_shuffled(mask, SIMULATOR_SHUFFLE_XOR, value, lanes, width);
}

inline unsigned __ballot_sync(unsigned mask, int predicate) { return simulator_ballot(mask, predicate != 0); }
inline int __any_sync(unsigned mask, int predicate) { return simulator_ballot(mask, predicate != 0) != 0; }
inline int __all_sync(unsigned mask, int predicate) { return simulator_ballot(mask, predicate == 0) == 0; }
template <class T>
inline unsigned __match_any_sync(unsigned mask, T value) {
  uint64_t bits = 0;
  memcpy(&bits, &value, sizeof(T));
  return simulator_match_any(mask, bits);
}
template <class T>
inline unsigned __match_all_sync(unsigned mask, T value, int *all) {
  uint64_t bits = 0;
  memcpy(&bits, &value, sizeof(T));
  int result;
  unsigned lanes = simulator_match_all(mask, bits, &result);
  *all = result;
  return lanes;
}
inline unsigned __activemask() { return simulator_active_mask(); }
inline void __syncwarp(unsigned mask = 0xffffffffu) { simulator_warp_barrier(mask); }

inline unsigned __reduce_add_sync(unsigned mask, unsigned value) {
  return simulator_reduce(mask, SIMULATOR_ADD, false, value);
}
inline int __reduce_add_sync(unsigned mask, int value) {
  return static_cast<int>(simulator_reduce(mask, SIMULATOR_ADD, true, static_cast<unsigned>(value)));
}
inline unsigned __reduce_min_sync(unsigned mask, unsigned value) {
  return simulator_reduce(mask, SIMULATOR_MIN, false, value);
}
inline int __reduce_min_sync(unsigned mask, int value) {
  return static_cast<int>(simulator_reduce(mask, SIMULATOR_MIN, true, static_cast<unsigned>(value)));
}
inline unsigned __reduce_max_sync(unsigned mask, unsigned value) {
  return simulator_reduce(mask, SIMULATOR_MAX, false, value);
}
inline int __reduce_max_sync(unsigned mask, int value) {
  return static_cast<int>(simulator_reduce(mask, SIMULATOR_MAX, true, static_cast<unsigned>(value)));
}
inline unsigned __reduce_and_sync(unsigned mask, unsigned value) {
  return simulator_reduce(mask, SIMULATOR_AND, false, value);
}
inline unsigned __reduce_or_sync(unsigned mask, unsigned value) {
  return simulator_reduce(mask, SIMULATOR_OR, false, value);
}
inline unsigned __reduce_xor_sync(unsigned mask, unsigned value) {
  return simulator_reduce(mask, SIMULATOR_XOR, false, value);
}
