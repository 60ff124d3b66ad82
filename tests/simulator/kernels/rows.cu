// Rows of 64 in reverse, a warp each, through shared memory that only the warp uses.
extern "C" __global__ void __launch_bounds__(96) rows(const float* __restrict__ x, float* __restrict__ y, int count) {
  __shared__ float row[3][64];
  int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  for (int r = blockIdx.x * 3 + warp; r < count; r += gridDim.x * 3) {
    row[warp][lane] = x[r * 64 + lane];
    row[warp][lane + 32] = x[r * 64 + lane + 32];
    __syncwarp();
    y[r * 64 + lane] = row[warp][63 - lane];
    y[r * 64 + lane + 32] = row[warp][31 - lane];
    __syncwarp();
  }
}
