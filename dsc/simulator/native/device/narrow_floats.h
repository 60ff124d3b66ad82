// Floats of 16 bits: computed in single precision and rounded, which for one operation is what a device does.
#pragma once
#include <immintrin.h>

#include "cuda.h"

namespace simulator {

struct HalfFormat {
  static float widen(uint16_t bits) { return _cvtsh_ss(bits); }
  static uint16_t narrow(float value) { return static_cast<uint16_t>(_cvtss_sh(value, _MM_FROUND_TO_NEAREST_INT)); }
};

struct BfloatFormat {
  static float widen(uint16_t bits) { return simulator_bits<float>(static_cast<uint32_t>(bits) << 16); }
  static uint16_t narrow(float value) {
    uint32_t bits = simulator_bits<uint32_t>(value);
    if (value != value) return static_cast<uint16_t>(0x7fff);
    return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);  // to nearest, ties to even
  }
};

template <class Format>
struct Narrow {
  uint16_t bits;

  Narrow() = default;
  Narrow(float value) : bits(Format::narrow(value)) {}
  Narrow(double value) : Narrow(static_cast<float>(value)) {}
  template <class Integer, class = std::enable_if_t<std::is_integral_v<Integer>>>
  Narrow(Integer value) : Narrow(static_cast<float>(value)) {}
  template <class Other>
  explicit Narrow(Narrow<Other> value) : Narrow(static_cast<float>(value)) {}

  operator float() const { return Format::widen(bits); }

  Narrow &operator+=(Narrow other) { return *this = *this + other; }
  Narrow &operator-=(Narrow other) { return *this = *this - other; }
  Narrow &operator*=(Narrow other) { return *this = *this * other; }
  Narrow &operator/=(Narrow other) { return *this = *this / other; }
};

template <class Format>
struct alignas(4) NarrowPair {
  Narrow<Format> x, y;

  NarrowPair() = default;
  NarrowPair(Narrow<Format> x, Narrow<Format> y) : x(x), y(y) {}
};

template <class F>
inline Narrow<F> from_bits(unsigned bits) {
  Narrow<F> result;
  result.bits = static_cast<uint16_t>(bits);
  return result;
}

}  // namespace simulator

// A function of one, two or three numbers, and of pairs of them; `value` is in terms of floats a, b and c.
#define SIMULATOR_UNARY(name, value)                         \
  template <class F>                                         \
  inline simulator::Narrow<F> name(simulator::Narrow<F> x) { \
    float a = x;                                             \
    return value;                                            \
  }
#define SIMULATOR_BINARY(name, value)                                                \
  template <class F>                                                                 \
  inline simulator::Narrow<F> name(simulator::Narrow<F> x, simulator::Narrow<F> y) { \
    float a = x, b = y;                                                              \
    return value;                                                                    \
  }
#define SIMULATOR_COMPARISON(name, value)                            \
  template <class F>                                                 \
  inline bool name(simulator::Narrow<F> x, simulator::Narrow<F> y) { \
    float a = x, b = y;                                              \
    return value;                                                    \
  }
#define SIMULATOR_PAIRWISE(name, function)                                                       \
  template <class F>                                                                             \
  inline simulator::NarrowPair<F> name(simulator::NarrowPair<F> a, simulator::NarrowPair<F> b) { \
    return {function(a.x, b.x), function(a.y, b.y)};                                             \
  }

namespace simulator {
SIMULATOR_BINARY(operator+, a + b)
SIMULATOR_BINARY(operator-, a - b)
SIMULATOR_BINARY(operator*, a *b)
SIMULATOR_BINARY(operator/, a / b)
SIMULATOR_UNARY(operator-, -a)
SIMULATOR_COMPARISON(operator<, a < b)
SIMULATOR_COMPARISON(operator>, a > b)
SIMULATOR_COMPARISON(operator<=, a <= b)
SIMULATOR_COMPARISON(operator>=, a >= b)
SIMULATOR_COMPARISON(operator==, a == b)
SIMULATOR_COMPARISON(operator!=, a != b)
}  // namespace simulator

SIMULATOR_BINARY(__hadd, a + b)
SIMULATOR_BINARY(__hsub, a - b)
SIMULATOR_BINARY(__hmul, a *b)
SIMULATOR_BINARY(__hdiv, a / b)
SIMULATOR_BINARY(__hmax, fmaxf(a, b))
SIMULATOR_BINARY(__hmin, fminf(a, b))
SIMULATOR_BINARY(__hmax_nan, a != a || b != b ? NAN : fmaxf(a, b))
SIMULATOR_BINARY(__hmin_nan, a != a || b != b ? NAN : fminf(a, b))
SIMULATOR_UNARY(__hneg, -a)
SIMULATOR_UNARY(__habs, fabsf(a))
SIMULATOR_COMPARISON(__hgt, a > b)
SIMULATOR_COMPARISON(__hge, a >= b)
SIMULATOR_COMPARISON(__hlt, a < b)
SIMULATOR_COMPARISON(__hle, a <= b)
SIMULATOR_COMPARISON(__heq, a == b)
SIMULATOR_COMPARISON(__hne, a != b)
SIMULATOR_UNARY(hexp, expf(a))
SIMULATOR_UNARY(hexp2, exp2f(a))
SIMULATOR_UNARY(hexp10, exp10f(a))
SIMULATOR_UNARY(hlog, logf(a))
SIMULATOR_UNARY(hlog2, log2f(a))
SIMULATOR_UNARY(hlog10, log10f(a))
SIMULATOR_UNARY(hsqrt, sqrtf(a))
SIMULATOR_UNARY(hrsqrt, rsqrtf(a))
SIMULATOR_UNARY(hrcp, 1.0f / a)
SIMULATOR_UNARY(htanh, tanhf(a))
SIMULATOR_UNARY(hsin, sinf(a))
SIMULATOR_UNARY(hcos, cosf(a))
SIMULATOR_UNARY(hfloor, floorf(a))
SIMULATOR_UNARY(hceil, ceilf(a))
SIMULATOR_UNARY(htrunc, truncf(a))
SIMULATOR_UNARY(hrint, nearbyintf(a))

// The product is exact in a double, whose sum rounds as a fused multiply-add does in all but ties of its last bit.
template <class F>
inline simulator::Narrow<F> __hfma(simulator::Narrow<F> a, simulator::Narrow<F> b, simulator::Narrow<F> c) {
  return static_cast<float>(static_cast<double>(float(a)) * float(b) + float(c));
}
template <class F>
inline bool __hisnan(simulator::Narrow<F> x) {
  return float(x) != float(x);
}

namespace simulator {
SIMULATOR_PAIRWISE(operator+, __hadd)
SIMULATOR_PAIRWISE(operator-, __hsub)
SIMULATOR_PAIRWISE(operator*, __hmul)
}  // namespace simulator
SIMULATOR_PAIRWISE(__hadd2, __hadd)
SIMULATOR_PAIRWISE(__hsub2, __hsub)
SIMULATOR_PAIRWISE(__hmul2, __hmul)
SIMULATOR_PAIRWISE(__hmax2, __hmax)
SIMULATOR_PAIRWISE(__hmin2, __hmin)
template <class F>
inline simulator::NarrowPair<F> __hfma2(simulator::NarrowPair<F> a, simulator::NarrowPair<F> b,
                                        simulator::NarrowPair<F> c) {
  return {__hfma(a.x, b.x, c.x), __hfma(a.y, b.y, c.y)};
}

#undef SIMULATOR_UNARY
#undef SIMULATOR_BINARY
#undef SIMULATOR_COMPARISON
#undef SIMULATOR_PAIRWISE
