// How often each byte is there: counted in shared memory, then added up.
extern "C" __global__ void __launch_bounds__(128) histogram(const unsigned char* __restrict__ x, int* __restrict__ y,
                                                            int n) {
  __shared__ int counts[256];
  for (int i = threadIdx.x; i < 256; i += 128) counts[i] = 0;
  __syncthreads();
  for (int i = blockIdx.x * 128 + threadIdx.x; i < n; i += gridDim.x * 128) atomicAdd(&counts[x[i]], 1);
  __syncthreads();
  for (int i = threadIdx.x; i < 256; i += 128) atomicAdd(&y[i], counts[i]);
}
