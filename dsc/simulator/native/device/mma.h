// nvcuda::wmma: matrices of a whole warp in fragments.
#pragma once
#include "cuda_bf16.h"
#include "cuda_fp16.h"

namespace nvcuda {
namespace wmma {

struct matrix_a;
struct matrix_b;
struct accumulator;
struct row_major;
struct col_major;
enum layout_t { mem_row_major, mem_col_major };

namespace precision {
struct tf32;
}

// How an element is stored, and the core's name of its type.
template <class T>
struct element;
#define SIMULATOR_ELEMENT(T, Stored, name)                  \
  template <>                                               \
  struct element<T> {                                       \
    using storage = Stored;                                 \
    static constexpr SimulatorType type = SIMULATOR_##name; \
  }
SIMULATOR_ELEMENT(__half, __half, F16);
SIMULATOR_ELEMENT(__nv_bfloat16, __nv_bfloat16, BF16);
SIMULATOR_ELEMENT(precision::tf32, float, TF32);
SIMULATOR_ELEMENT(float, float, F32);
SIMULATOR_ELEMENT(signed char, signed char, S8);
SIMULATOR_ELEMENT(unsigned char, unsigned char, U8);
SIMULATOR_ELEMENT(int, int, S32);
#undef SIMULATOR_ELEMENT

template <class Use, int M, int N, int K>
struct extent;
template <int M, int N, int K>
struct extent<matrix_a, M, N, K> {
  static constexpr int rows = M, columns = K;
};
template <int M, int N, int K>
struct extent<matrix_b, M, N, K> {
  static constexpr int rows = K, columns = N;
};
template <int M, int N, int K>
struct extent<accumulator, M, N, K> {
  static constexpr int rows = M, columns = N;
};

template <class Use, int M, int N, int K, class T, class Layout = void>
struct fragment {
  static constexpr bool is_known =
      (M == 16 && N == 16 && (K == 16 || K == 8)) || (M == 32 && N == 8 && K == 16) || (M == 8 && N == 32 && K == 16);
  static_assert(is_known, "a shape of wmma that the simulator does not know");
  using size = extent<Use, M, N, K>;
  using storage = typename element<T>::storage;
  static constexpr int num_elements = size::rows * size::columns / warpSize;
  storage x[num_elements];
};

template <class Fragment>
inline SimulatorTile tile_of(bool row_major) {
  return {Fragment::size::rows, Fragment::size::columns, int(sizeof(typename Fragment::storage)), row_major};
}

template <class Use, int M, int N, int K, class T, class Layout>
inline void load_matrix_sync(fragment<Use, M, N, K, T, Layout> &to, const typename element<T>::storage *from,
                             unsigned stride) {
  SimulatorTile tile = tile_of<fragment<Use, M, N, K, T, Layout>>(std::is_same_v<Layout, row_major>);
  simulator_wmma_load(&tile, to.x, from, stride);
}
template <int M, int N, int K, class T>
inline void load_matrix_sync(fragment<accumulator, M, N, K, T> &to, const T *from, unsigned stride, layout_t layout) {
  SimulatorTile tile = tile_of<fragment<accumulator, M, N, K, T>>(layout == mem_row_major);
  simulator_wmma_load(&tile, to.x, from, stride);
}
template <int M, int N, int K, class T>
inline void store_matrix_sync(T *to, const fragment<accumulator, M, N, K, T> &from, unsigned stride, layout_t layout) {
  SimulatorTile tile = tile_of<fragment<accumulator, M, N, K, T>>(layout == mem_row_major);
  simulator_wmma_store(&tile, from.x, to, stride);
}

template <class Fragment, class T>
inline void fill_fragment(Fragment &to, T value) {
  for (auto &each : to.x) each = static_cast<typename Fragment::storage>(value);
}

template <int M, int N, int K, class A, class LayoutA, class B, class LayoutB, class C, class D>
inline void mma_sync(fragment<accumulator, M, N, K, D> &d, const fragment<matrix_a, M, N, K, A, LayoutA> &a,
                     const fragment<matrix_b, M, N, K, B, LayoutB> &b, const fragment<accumulator, M, N, K, C> &c) {
  static constexpr SimulatorMma shape = {
      M, N, K, element<A>::type, element<B>::type, element<C>::type, element<D>::type, false};
  simulator_wmma_mma(&shape, d.x, a.x, b.x, c.x);
}

// To nearest, ties away from zero, as cvt.rna.tf32 does.
inline float __float_to_tf32(float x) {
  return simulator_bits<float>((simulator_bits<uint32_t>(x) + 0x1000u) & ~0x1fffu);
}

}  // namespace wmma
}  // namespace nvcuda
