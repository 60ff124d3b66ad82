// What translated PTX is written in terms of: registers as values of a type, and operations that C++ has not.
#pragma once
#include "narrow_floats.h"
#include "sm_61_intrinsics.h"

namespace simulator_ptx {

// The bits of a register as a T; of a number that stands in the text, its value.
template <class T, class Register>
inline T take(Register value) {
  if constexpr (sizeof(T) == sizeof(Register)) {
    return simulator_bits<T>(value);
  } else {
    static_assert(std::is_integral_v<T> && std::is_integral_v<Register>, "registers of one width");
    return static_cast<T>(value);
  }
}

template <class T, class Register>
inline void put(Register &to, T value) {
  if constexpr (sizeof(T) == sizeof(Register)) {
    to = simulator_bits<Register>(value);
  } else {
    static_assert(std::is_integral_v<T> && std::is_integral_v<Register>, "registers of one width");
    to = static_cast<Register>(value);
  }
}

inline void *generic(uint64_t address) { return reinterpret_cast<void *>(address); }

// cp.async's fourth operand: bytes that are read, or a predicate that says to read none.
inline int bytes_read(bool ignores, int64_t size) { return ignores ? 0 : static_cast<int>(size); }
template <class Count>
inline int bytes_read(Count count, int64_t) {
  return static_cast<int>(count);
}

template <class T>
inline T fma(T a, T b, T c) {
  if constexpr (std::is_floating_point_v<T>)
    return std::fma(a, b, c);
  else if constexpr (sizeof(T) == 2)
    return __hfma(a, b, c);
  else
    return __hfma2(a, b, c);
}

// A NaN gives way to a number.
template <class T>
inline T minimum(T a, T b) {
  if constexpr (std::is_integral_v<T>)
    return a < b ? a : b;
  else
    return static_cast<T>(fmin(static_cast<double>(a), static_cast<double>(b)));
}
template <class T>
inline T maximum(T a, T b) {
  if constexpr (std::is_integral_v<T>)
    return a > b ? a : b;
  else
    return static_cast<T>(fmax(static_cast<double>(a), static_cast<double>(b)));
}
template <class T>
inline T absolute(T a) {
  if constexpr (std::is_integral_v<T>)
    return a < 0 ? -a : a;
  else
    return static_cast<T>(fabs(static_cast<double>(a)));
}

// Amounts of the width and more leave zeros, or copies of the sign.
template <class T>
inline T shl(T value, uint32_t amount) {
  return amount < 8 * sizeof(T) ? static_cast<T>(static_cast<uint64_t>(value) << amount) : T{0};
}
template <class T>
inline T shr(T value, uint32_t amount) {
  if (amount < 8 * sizeof(T)) return static_cast<T>(value >> amount);
  return value < 0 ? static_cast<T>(-1) : T{0};
}

inline uint32_t leading_zeros(uint32_t value) { return value ? static_cast<uint32_t>(__builtin_clz(value)) : 32; }
inline uint32_t leading_zeros(uint64_t value) { return value ? static_cast<uint32_t>(__builtin_clzll(value)) : 64; }

inline uint32_t lop3(uint32_t a, uint32_t b, uint32_t c, uint32_t table) {
  uint32_t result = 0;
  for (int i = 0; i < 8; ++i) {
    uint32_t chosen = (i & 4 ? a : ~a) & (i & 2 ? b : ~b) & (i & 1 ? c : ~c);
    if (table >> i & 1) result |= chosen;
  }
  return result;
}

inline uint32_t rna_tf32(uint32_t bits) { return (bits + 0x1000u) & ~0x1fffu; }
inline uint32_t rn_tf32(uint32_t bits) { return (bits + 0x0fffu + (bits >> 13 & 1)) & ~0x1fffu; }
inline uint32_t rz_tf32(uint32_t bits) { return bits & ~0x1fffu; }

inline bool is_uniform(SimulatorMask mask, bool predicate) {
  SimulatorMask votes = simulator_ballot(mask, predicate);
  return votes == 0 || votes == mask;
}

// The first part is the lowest.
template <class Whole, class Part, class... Parts>
inline void pack(Whole &whole, Part part, Parts... parts) {
  static_assert(sizeof(Whole) == (1 + sizeof...(Parts)) * sizeof(Part), "parts that fill the register");
  const Part all[] = {part, static_cast<Part>(parts)...};
  memcpy(&whole, all, sizeof(whole));
}
template <class Whole, class... Parts>
inline void unpack(Whole whole, Parts &...parts) {
  const char *from = reinterpret_cast<const char *>(&whole);
  static_assert(sizeof(Whole) == (sizeof(Parts) + ...), "parts that fill the register");
  ((memcpy(&parts, from, sizeof(parts)), from += sizeof(parts)), ...);
}

}  // namespace simulator_ptx
