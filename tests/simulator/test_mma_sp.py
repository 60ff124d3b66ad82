"""mma.sp multiplies by the matrix that its left operand and metadata stand for, as the PTX ISA lays them out."""

from __future__ import annotations

import re

import ml_dtypes
import numpy as np
import pytest

from dsc.simulator import KernelError, simulated_cuda
from dsc.simulator.ptx.matrix import SPARSE_MMAS, Mma
from tests.simulator.test_mma import registers

STORED = {"f16": np.float16, "bf16": ml_dtypes.bfloat16}


def kernel(row: Mma, selector: int) -> str:
    """A warp loads its registers, multiplies, and stores them."""
    a, b = row.k // 8, row.k // 8
    groups, number = [], 0
    for count in (4, a, b, 4):
        groups.append("{" + ", ".join(f"%{number + i}" for i in range(count)) + "}")
        number += count
    name = f"mma.sp::ordered_metadata.sync.aligned.m16n8k{row.k}.row.col.f32.{row.a}.{row.b}.f32"
    outputs = ", ".join(f'"=f"(rd[{i}])' for i in range(4))
    inputs = [f'"r"(a[threadIdx.x * {a} + {i}])' for i in range(a)]
    inputs += [f'"r"(b[threadIdx.x * {b} + {i}])' for i in range(b)]
    inputs += [f'"f"(c[threadIdx.x * 4 + {i}])' for i in range(4)]
    return (
        f'extern "C" __global__ void __launch_bounds__(32) k{row.k}_{row.a}_{selector}'
        "(const unsigned* a, const unsigned* b, const float* c, const unsigned* e, float* d) {\n float rd[4];\n"
        f'asm volatile("{name} {", ".join(groups)}, %{number}, {selector:#x};"\n'
        f' : {outputs} : {", ".join(inputs)}, "r"(e[threadIdx.x]));\n'
        "for (int i = 0; i < 4; ++i) d[threadIdx.x * 4 + i] = rd[i];\n}\n"
    )


def launched(row: Mma, selector: int, draw: np.random.Generator, kept: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What the instruction makes of random numbers, and what it should. kept: ``[16, k / 4, 2]``, of four columns."""
    dtype = STORED[row.a]
    stored = draw.standard_normal((16, row.k // 2)).astype(dtype)
    dense = np.zeros((16, row.k // 4, 4))
    np.put_along_axis(dense, kept, stored.astype(np.float64).reshape(16, -1, 2), axis=-1)
    b = draw.standard_normal((1, row.k, 8)).astype(dtype)
    c = draw.standard_normal((1, 16, 8)).astype(np.float32)
    bits = np.zeros((16, row.k // 16), np.uint32)  # 8 elements of a row each
    for i in range(row.k // 2):
        bits[:, i // 8] |= kept.reshape(16, -1)[:, i].astype(np.uint32) << np.uint32(i % 8 * 2)
    metadata = draw.integers(0, 1 << 32, 32, np.uint32)  # of lanes that the selector does not say, anything
    for group in range(8):
        for part in range(row.k // 16):
            lane = (group * 4 + selector * (row.k // 16) + part) % 32
            metadata[lane] = bits[group, part] | bits[group + 8, part] << np.uint32(16)
    left = registers(Mma(16, 8, row.k // 2, row.a, row.b, "f32"), "a", stored[None])
    right, sums = registers(row, "b", b), registers(row, "c", c)
    found = np.zeros((32, 4), np.float32)
    with simulated_cuda("sm_80", checks=False) as simulation:
        name = f"k{row.k}_{row.a}_{selector}"
        simulation.launch(kernel(row, selector), name, (1,), (32,), left, right, sums.view(np.float32), metadata, found)
    product = dense.reshape(16, row.k) @ b[0].astype(np.float64) + c[0]
    return found, registers(row, "c", product[None].astype(np.float32)).view(np.float32)


@pytest.mark.parametrize("row", SPARSE_MMAS, ids=lambda row: f"{row.a}_{row.k}")
def test_every_row_multiplies_with_every_selector(row: Mma) -> None:
    draw = np.random.default_rng(3)
    for selector in range(64 // row.k):
        kept = np.sort(np.argsort(draw.random((16, row.k // 4, 4)))[..., :2])
        found, expected = launched(row, selector, draw, kept)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_metadata_that_is_not_in_order_is_an_error() -> None:
    draw = np.random.default_rng(4)
    with pytest.raises(KernelError, match=re.escape("mma.sp whose metadata is not in order")):
        launched(SPARSE_MMAS[1], 0, draw, np.tile([2, 1], (16, 8, 1)))


def test_a_selector_that_there_is_not_is_an_error() -> None:
    draw = np.random.default_rng(4)
    with pytest.raises(KernelError, match="selector that there is not"):
        launched(SPARSE_MMAS[1], 2, draw, np.tile([0, 1], (16, 8, 1)))
