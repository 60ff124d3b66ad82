// y[n, m] = x[m, n] through a tile in shared memory, with a column more so that no two rows begin in one bank.
extern "C" __global__ void __launch_bounds__(256) transpose(const float* __restrict__ x, float* __restrict__ y, int m,
                                                            int n) {
  __shared__ float tile[32][33];
  int column = blockIdx.x * 32 + threadIdx.x, row = blockIdx.y * 32 + threadIdx.y;
  for (int i = 0; i < 32; i += 8)
    if (column < n && row + i < m) tile[threadIdx.y + i][threadIdx.x] = x[(row + i) * n + column];
  __syncthreads();
  int to_column = blockIdx.y * 32 + threadIdx.x, to_row = blockIdx.x * 32 + threadIdx.y;
  for (int i = 0; i < 32; i += 8)
    if (to_column < m && to_row + i < n) y[(to_row + i) * m + to_column] = tile[threadIdx.x][threadIdx.y + i];
}
