// Numbers of 16 bits and less, as registers hold them.
#pragma once
#include <immintrin.h>

#include <cstdint>
#include <cstring>

namespace simulator {

inline float float_of(uint32_t bits) {
  float value;
  memcpy(&value, &bits, sizeof(value));
  return value;
}

inline uint32_t bits_of(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof(bits));
  return bits;
}

inline float half_to_float(uint16_t bits) { return _cvtsh_ss(bits); }
// To nearest, ties to even.
inline uint16_t float_to_half(float value) {
  return static_cast<uint16_t>(_cvtss_sh(value, _MM_FROUND_TO_NEAREST_INT));
}

inline float bfloat_to_float(uint16_t bits) { return float_of(uint32_t{bits} << 16); }

// The 10 bits of mantissa that tensor cores read of a float.
inline float tf32_to_float(uint32_t bits) { return float_of(bits & ~0x1fffu); }

}  // namespace simulator
