// Softmax of rows, a warp each.
extern "C" __global__ void __launch_bounds__(64) softmax(const float* __restrict__ x, float* __restrict__ y, int rows,
                                                         int n) {
  int row = blockIdx.x * 2 + threadIdx.x / 32, lane = threadIdx.x % 32;
  if (row >= rows) return;
  float most = -1e30f, sum = 0.0f;
  for (int i = lane; i < n; i += 32) most = fmaxf(most, x[row * n + i]);
  for (int lanes = 16; lanes > 0; lanes /= 2) most = fmaxf(most, __shfl_xor_sync(0xffffffffu, most, lanes));
  for (int i = lane; i < n; i += 32) sum += __expf(x[row * n + i] - most);
  for (int lanes = 16; lanes > 0; lanes /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, lanes);
  for (int i = lane; i < n; i += 32) y[row * n + i] = __expf(x[row * n + i] - most) / sum;
}
