// c[32, 16] += a[32, k] b[16, k]^T in halves on tensor cores: cp.async to shared memory, ldmatrix, mma.sync.
#include <cuda_fp16.h>
#include <cstdint>

extern "C" __global__ void __launch_bounds__(64) tensor(const half* __restrict__ a, const half* __restrict__ b,
                                                        float* __restrict__ c, int k) {
  __shared__ __align__(16) half ta[32][24];
  __shared__ __align__(16) half tb[16][24];
  int t = threadIdx.x, lane = t % 32, warp = t / 32;
  float d[2][4] = {};
  for (int first = 0; first < k; first += 16) {
    {
      uint32_t to = static_cast<uint32_t>(__cvta_generic_to_shared(&ta[t / 2][t % 2 * 8]));
      asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(to), "l"(a + t / 2 * k + first + t % 2 * 8) : "memory");
    }
    if (t < 32) {
      uint32_t to = static_cast<uint32_t>(__cvta_generic_to_shared(&tb[t / 2][t % 2 * 8]));
      asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(to), "l"(b + t / 2 * k + first + t % 2 * 8) : "memory");
    }
    asm volatile("cp.async.commit_group;" ::: "memory");
    asm volatile("cp.async.wait_group 0;" ::: "memory");
    __syncthreads();
    uint32_t ra[4], rb[4];
    uint32_t pa = static_cast<uint32_t>(__cvta_generic_to_shared(&ta[warp * 16 + lane % 16][lane / 16 * 8]));
    uint32_t pb = static_cast<uint32_t>(__cvta_generic_to_shared(&tb[lane / 16 * 8 + lane % 8][lane / 8 % 2 * 8]));
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(ra[0]), "=r"(ra[1]), "=r"(ra[2]), "=r"(ra[3]) : "r"(pa) : "memory");
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(rb[0]), "=r"(rb[1]), "=r"(rb[2]), "=r"(rb[3]) : "r"(pb) : "memory");
    for (int i = 0; i < 2; ++i)
      asm volatile(
          "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
          "{%0, %1, %2, %3};"
          : "+f"(d[i][0]), "+f"(d[i][1]), "+f"(d[i][2]), "+f"(d[i][3])
          : "r"(ra[0]), "r"(ra[1]), "r"(ra[2]), "r"(ra[3]), "r"(rb[i * 2]), "r"(rb[i * 2 + 1]));
    __syncthreads();
  }
  for (int i = 0; i < 2; ++i)
    for (int q = 0; q < 4; ++q)
      c[(warp * 16 + lane / 4 + q / 2 * 8) * 16 + i * 8 + lane % 4 * 2 + q % 2] = d[i][q];
}
