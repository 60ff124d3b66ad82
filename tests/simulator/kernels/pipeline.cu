// c[m, 64] = a[m, k] b[k, 64] with two buffers that cp.async fills ahead of their use; k is a multiple of 16, m of 32.
#include <cstdint>

__device__ void copy16(float* to, const float* from) {
  uint32_t address = static_cast<uint32_t>(__cvta_generic_to_shared(to));
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;\n" ::"r"(address), "l"(from) : "memory");
}

extern "C" __global__ void __launch_bounds__(128) pipeline(const float* __restrict__ a, const float* __restrict__ b,
                                                           float* __restrict__ c, int k) {
  __shared__ __align__(16) float ta[2][32][16];
  __shared__ __align__(16) float tb[2][16][64];
  int t = threadIdx.x, row = t / 16 * 4, column = t % 16 * 4;
  const float* rows = a + blockIdx.x * 32 * k;
  float sums[4][4] = {};
  int steps = k / 16;
  for (int step = 0; step <= steps; ++step) {
    if (step < steps) {
      int buffer = step % 2;
      copy16(&ta[buffer][t / 4][t % 4 * 4], rows + t / 4 * k + step * 16 + t % 4 * 4);
      for (int i = 0; i < 2; ++i)
        copy16(&tb[buffer][t / 16 + i * 8][t % 16 * 4], b + (step * 16 + t / 16 + i * 8) * 64 + t % 16 * 4);
      asm volatile("cp.async.commit_group;\n" ::: "memory");
    }
    if (step == 0) continue;
    if (step < steps) {
      asm volatile("cp.async.wait_group 1;\n" ::: "memory");
    } else {
      asm volatile("cp.async.wait_group 0;\n" ::: "memory");
    }
    __syncthreads();
    int buffer = (step - 1) % 2;
    for (int i = 0; i < 16; ++i)
      for (int y = 0; y < 4; ++y)
        for (int x = 0; x < 4; ++x) sums[y][x] += ta[buffer][row + y][i] * tb[buffer][i][column + x];
    __syncthreads();
  }
  for (int y = 0; y < 4; ++y)
    for (int x = 0; x < 4; ++x) c[(blockIdx.x * 32 + row + y) * 64 + column + x] = sums[y][x];
}
