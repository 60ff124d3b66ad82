// Sums of rows: each thread sums a part, lanes of a warp by shuffles, warps by shared memory.
extern "C" __global__ void __launch_bounds__(128) reduce(const float* __restrict__ x, float* __restrict__ y, int n) {
  __shared__ float parts[4];
  const float* row = x + blockIdx.x * n;
  float sum = 0.0f;
  for (int i = threadIdx.x; i < n; i += 128) sum += row[i];
  for (int offset = 16; offset > 0; offset /= 2) sum += __shfl_down_sync(0xffffffffu, sum, offset);
  if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = sum;
  __syncthreads();
  if (threadIdx.x == 0) y[blockIdx.x] = parts[0] + parts[1] + parts[2] + parts[3];
}
