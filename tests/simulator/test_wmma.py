"""Fragments of every type and shape multiply."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from dsc.simulator import simulated_cuda

Array = np.ndarray
SOURCE = """
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <mma.h>
using namespace nvcuda::wmma;

template <int M, int N, int K, class T, class Stored, class Sum>
__device__ void multiply(const Stored* a, const Stored* b, const Sum* c, Sum* d) {
  fragment<matrix_a, M, N, K, T, row_major> fa;
  fragment<matrix_b, M, N, K, T, col_major> fb;
  fragment<accumulator, M, N, K, Sum> sum;
  load_matrix_sync(fa, a, K);
  load_matrix_sync(fb, b, K);
  load_matrix_sync(sum, c, M, mem_col_major);
  mma_sync(sum, fa, fb, sum);
  store_matrix_sync(d, sum, N, mem_row_major);
}

#define KERNEL(name, M, N, K, T, Stored, Sum)                                                              \\
  extern "C" __global__ void __launch_bounds__(32) name(const Stored* a, const Stored* b, const Sum* c,    \\
                                                        Sum* d) {                                          \\
    multiply<M, N, K, T, Stored, Sum>(a, b, c, d);                                                         \\
  }
KERNEL(halves, 16, 16, 16, half, half, float)
KERNEL(sums_of_halves, 16, 16, 16, half, half, half)
KERNEL(tall, 32, 8, 16, half, half, float)
KERNEL(wide, 8, 32, 16, __nv_bfloat16, __nv_bfloat16, float)
KERNEL(tf32, 16, 16, 8, precision::tf32, float, float)
KERNEL(bytes, 16, 16, 16, signed char, signed char, int)
KERNEL(unsigned_bytes, 32, 8, 16, unsigned char, unsigned char, int)
"""
BFLOAT = ml_dtypes.bfloat16
ROWS: dict[str, tuple[int, int, int, object, object]] = {
    "halves": (16, 16, 16, np.float16, np.float32),
    "sums_of_halves": (16, 16, 16, np.float16, np.float16),
    "tall": (32, 8, 16, np.float16, np.float32),
    "wide": (8, 32, 16, BFLOAT, np.float32),
    "tf32": (16, 16, 8, np.float32, np.float32),
    "bytes": (16, 16, 16, np.int8, np.int32),
    "unsigned_bytes": (32, 8, 16, np.uint8, np.int32),
}


@pytest.mark.parametrize("name", ROWS)
def test_fragments_multiply(name: str) -> None:
    m, n, k, element, total = ROWS[name]
    random = np.random.default_rng(11)
    # Small whole numbers: products and sums are exact in every type, so that nothing is lost to rounding.
    low = 0 if element is np.uint8 else -9
    a, b, c = (random.integers(low, 10, shape) for shape in ((m, k), (k, n), (m, n)))
    d = np.zeros((m, n), total)
    with simulated_cuda("sm_80", order="reverse") as simulation:
        columns_b, columns_c = (np.ascontiguousarray(x.T) for x in (b, c))
        arrays = (a.astype(element), columns_b.astype(element), columns_c.astype(total), d)
        simulation.launch(SOURCE, name, (1,), (32,), *arrays)
    np.testing.assert_array_equal(d.astype(np.int64), a @ b + c)
