// Functions on numbers. Approximations of the device (__expf and its kin) are computed as exactly as the others.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

using std::isfinite;
using std::isinf;
using std::isnan;
using std::signbit;

#define SIMULATOR_MIN_MAX(T)                       \
  inline T max(T a, T b) { return a > b ? a : b; } \
  inline T min(T a, T b) { return a < b ? a : b; }
SIMULATOR_MIN_MAX(signed char)
SIMULATOR_MIN_MAX(unsigned char)
SIMULATOR_MIN_MAX(short)
SIMULATOR_MIN_MAX(unsigned short)
SIMULATOR_MIN_MAX(int)
SIMULATOR_MIN_MAX(unsigned)
SIMULATOR_MIN_MAX(long)
SIMULATOR_MIN_MAX(unsigned long)
SIMULATOR_MIN_MAX(long long)
SIMULATOR_MIN_MAX(unsigned long long)
#undef SIMULATOR_MIN_MAX
inline float max(float a, float b) { return fmaxf(a, b); }
inline float min(float a, float b) { return fminf(a, b); }
inline double max(double a, double b) { return fmax(a, b); }
inline double min(double a, double b) { return fmin(a, b); }
inline double max(float a, double b) { return fmax(a, b); }
inline double min(float a, double b) { return fmin(a, b); }
inline double max(double a, float b) { return fmax(a, b); }
inline double min(double a, float b) { return fmin(a, b); }

inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }
inline double rsqrt(double x) { return 1.0 / sqrt(x); }
inline float exp10f(float x) { return powf(10.0f, x); }
inline double exp10(double x) { return pow(10.0, x); }
inline float normcdff(float x) { return 0.5f * erfcf(-x * 0.70710678118654752f); }

inline float __expf(float x) { return expf(x); }
inline float __exp10f(float x) { return exp10f(x); }
inline float __logf(float x) { return logf(x); }
inline float __log2f(float x) { return log2f(x); }
inline float __log10f(float x) { return log10f(x); }
inline float __powf(float x, float y) { return powf(x, y); }
inline float __sinf(float x) { return sinf(x); }
inline float __cosf(float x) { return cosf(x); }
inline float __tanf(float x) { return tanf(x); }
inline float __tanhf(float x) { return tanhf(x); }
inline float __fdividef(float a, float b) { return a / b; }
inline float fdividef(float a, float b) { return a / b; }
inline float __frcp_rn(float x) { return 1.0f / x; }
inline float __frsqrt_rn(float x) { return 1.0f / sqrtf(x); }
inline float __fsqrt_rn(float x) { return sqrtf(x); }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
inline float __saturatef(float x) { return x > 0.0f ? fminf(x, 1.0f) : 0.0f; }
// These are never contracted into a fused multiply-add.
inline float __fadd_rn(float a, float b) { return static_cast<float>(static_cast<double>(a) + b); }
inline float __fsub_rn(float a, float b) { return static_cast<float>(static_cast<double>(a) - b); }
inline float __fmul_rn(float a, float b) { return static_cast<float>(static_cast<double>(a) * b); }

template <class To, class From>
inline To simulator_bits(From from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  memcpy(&to, &from, sizeof(to));
  return to;
}
inline float __int_as_float(int x) { return simulator_bits<float>(x); }
inline int __float_as_int(float x) { return simulator_bits<int>(x); }
inline float __uint_as_float(unsigned x) { return simulator_bits<float>(x); }
inline unsigned __float_as_uint(float x) { return simulator_bits<unsigned>(x); }
inline double __longlong_as_double(long long x) { return simulator_bits<double>(x); }
inline long long __double_as_longlong(double x) { return simulator_bits<long long>(x); }

// To an integer a device rounds as it is told and saturates; a NaN becomes 0 (PTX ISA, cvt).
template <class To>
inline To simulator_saturated(double x) {
  constexpr double least = static_cast<double>(std::numeric_limits<To>::min());
  constexpr double most = static_cast<double>(std::numeric_limits<To>::max());
  if (x != x) return 0;
  return x <= least ? std::numeric_limits<To>::min() : x >= most ? std::numeric_limits<To>::max() : static_cast<To>(x);
}
inline int __float2int_rn(float x) { return simulator_saturated<int>(nearbyintf(x)); }
inline int __float2int_rz(float x) { return simulator_saturated<int>(truncf(x)); }
inline int __float2int_rd(float x) { return simulator_saturated<int>(floorf(x)); }
inline int __float2int_ru(float x) { return simulator_saturated<int>(ceilf(x)); }
inline unsigned __float2uint_rn(float x) { return simulator_saturated<unsigned>(nearbyintf(x)); }
inline unsigned __float2uint_rz(float x) { return simulator_saturated<unsigned>(truncf(x)); }
inline float __int2float_rn(int x) { return static_cast<float>(x); }
inline float __uint2float_rn(unsigned x) { return static_cast<float>(x); }

inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
inline int __clz(int x) { return x ? __builtin_clz(static_cast<unsigned>(x)) : 32; }
inline int __clzll(long long x) { return x ? __builtin_clzll(static_cast<unsigned long long>(x)) : 64; }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline unsigned __brev(unsigned x) {
  unsigned reversed = 0;
  for (int i = 0; i < 32; ++i) reversed |= (x >> i & 1) << (31 - i);
  return reversed;
}
inline int __mulhi(int a, int b) { return static_cast<int>(static_cast<long long>(a) * b >> 32); }
inline unsigned __umulhi(unsigned a, unsigned b) {
  return static_cast<unsigned>(static_cast<unsigned long long>(a) * b >> 32);
}
inline unsigned __byte_perm(unsigned a, unsigned b, unsigned selector) {
  unsigned long long bytes = static_cast<unsigned long long>(b) << 32 | a;
  unsigned result = 0;
  for (int i = 0; i < 4; ++i) {
    unsigned chosen = selector >> 4 * i & 15;
    unsigned byte = static_cast<unsigned>(bytes >> 8 * (chosen & 7)) & 255;
    if (chosen & 8) byte = byte & 128 ? 255 : 0;  // its sign
    result |= byte << 8 * i;
  }
  return result;
}
