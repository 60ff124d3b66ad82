// Maxima of rows, by a tree in shared memory.
extern "C" __global__ void __launch_bounds__(64) tree(const float* __restrict__ x, float* __restrict__ y, int n) {
  __shared__ float most[64];
  int t = threadIdx.x;
  float own = -1e30f;
  for (int i = t; i < n; i += 64) own = fmaxf(own, x[blockIdx.x * n + i]);
  most[t] = own;
  __syncthreads();
  for (int half = 32; half > 0; half /= 2) {
    if (t < half) most[t] = fmaxf(most[t], most[t + half]);
    __syncthreads();
  }
  if (t == 0) y[blockIdx.x] = most[0];
}
