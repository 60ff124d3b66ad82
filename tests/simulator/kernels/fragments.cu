// c[16, 32] = a[16, k] b[k, 32] in halves by wmma, a warp for each half of the columns.
#include <cuda_fp16.h>
#include <mma.h>

extern "C" __global__ void __launch_bounds__(64) fragments(const half* __restrict__ a, const half* __restrict__ b,
                                                           float* __restrict__ c, int k) {
  using namespace nvcuda::wmma;
  __shared__ __align__(32) half ta[16 * 16];
  int warp = threadIdx.x / 32;
  fragment<accumulator, 16, 16, 16, float> sum;
  fill_fragment(sum, 0.0f);
  for (int first = 0; first < k; first += 16) {
    for (int i = threadIdx.x; i < 256; i += 64) ta[i] = a[i / 16 * k + first + i % 16];
    __syncthreads();
    fragment<matrix_a, 16, 16, 16, half, row_major> fa;
    fragment<matrix_b, 16, 16, 16, half, row_major> fb;
    load_matrix_sync(fa, ta, 16);
    load_matrix_sync(fb, b + first * 32 + warp * 16, 32);
    mma_sync(sum, fa, fb, sum);
    __syncthreads();
  }
  store_matrix_sync(c + warp * 16, sum, 32, mem_row_major);
}
