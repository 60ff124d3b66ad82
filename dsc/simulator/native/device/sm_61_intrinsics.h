// Products of four bytes (and of two 16-bit numbers with two bytes), summed.
#pragma once
#include "cuda.h"

template <class A, class B, class Sum>
inline Sum simulator_dp4a(unsigned a, unsigned b, Sum sum) {
  for (int i = 0; i < 4; ++i)
    sum +=
        static_cast<Sum>(static_cast<int>(static_cast<A>(a >> 8 * i)) * static_cast<int>(static_cast<B>(b >> 8 * i)));
  return sum;
}
inline int __dp4a(int a, int b, int c) {
  return simulator_dp4a<int8_t, int8_t>(static_cast<unsigned>(a), static_cast<unsigned>(b), c);
}
inline unsigned __dp4a(unsigned a, unsigned b, unsigned c) { return simulator_dp4a<uint8_t, uint8_t>(a, b, c); }
inline int __dp4a(char4 a, char4 b, int c) {
  return simulator_dp4a<int8_t, int8_t>(simulator_bits<unsigned>(a), simulator_bits<unsigned>(b), c);
}
inline unsigned __dp4a(uchar4 a, uchar4 b, unsigned c) {
  return simulator_dp4a<uint8_t, uint8_t>(simulator_bits<unsigned>(a), simulator_bits<unsigned>(b), c);
}
