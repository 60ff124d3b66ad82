"""mma.sp multiplies by the matrix that its left operand and metadata stand for, as the PTX ISA lays them out."""

from __future__ import annotations

import re
from collections.abc import Iterator

import ml_dtypes
import numpy as np
import pytest

from dsc.simulator import KernelError, simulated_cuda
from dsc.simulator.ptx.matrix import SPARSE_MMAS, Mma
from tests.simulator.test_mma import registers

STORED = {"f16": np.float16, "bf16": ml_dtypes.bfloat16, "s8": np.int8, "u8": np.uint8}


def kernel(row: Mma, selector: int) -> str:
    """A warp loads its registers, multiplies, and stores them."""
    a = b = row.registers(16, row.k // 2, row.a)
    groups, number = [], 0
    for count in (4, a, b, 4):
        groups.append("{" + ", ".join(f"%{number + i}" for i in range(count)) + "}")
        number += count
    name = f"mma.sp::ordered_metadata.sync.aligned.m16n8k{row.k}.row.col.{row.c}.{row.a}.{row.b}.{row.c}"
    type, register = ("float", "f") if row.c == "f32" else ("int", "r")
    outputs = ", ".join(f'"={register}"(rd[{i}])' for i in range(4))
    inputs = [f'"r"(a[threadIdx.x * {a} + {i}])' for i in range(a)]
    inputs += [f'"r"(b[threadIdx.x * {b} + {i}])' for i in range(b)]
    inputs += [f'"{register}"(c[threadIdx.x * 4 + {i}])' for i in range(4)]
    return (
        f'extern "C" __global__ void __launch_bounds__(32) k{row.k}_{row.a}_{row.b}_{selector}'
        f"(const unsigned* a, const unsigned* b, const {type}* c, const unsigned* e, {type}* d) {{\n {type} rd[4];\n"
        f'asm volatile("{name} {", ".join(groups)}, %{number}, {selector:#x};"\n'
        f' : {outputs} : {", ".join(inputs)}, "r"(e[threadIdx.x]));\n'
        "for (int i = 0; i < 4; ++i) d[threadIdx.x * 4 + i] = rd[i];\n}\n"
    )


def launched(row: Mma, selector: int, draw: np.random.Generator, kept: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What the instruction makes of random numbers, and what it should. kept: ``[16, k / 4, 2]``, of four columns."""
    stored, b = drawn(row.a, (16, row.k // 2), draw), drawn(row.b, (1, row.k, 8), draw)
    sums = np.float32 if row.c == "f32" else np.int32
    c = (draw.standard_normal((1, 16, 8)) * 100).astype(sums)
    dense = np.zeros((16, row.k // 4, 4))
    np.put_along_axis(dense, kept, stored.astype(np.float64).reshape(16, -1, 2), axis=-1)
    metadata = draw.integers(0, 1 << 32, 32, np.uint32)  # of lanes that the selector does not say, anything
    for lane, word in words(row, kept):
        metadata[(lane + selector * (row.k // 16)) % 32] = word
    left = registers(Mma(16, 8, row.k // 2, row.a, row.b, row.c), "a", stored[None])
    right, given = registers(row, "b", b), registers(row, "c", c)
    found = np.zeros((32, 4), sums)
    with simulated_cuda("sm_80", checks=False) as simulation:
        name = f"k{row.k}_{row.a}_{row.b}_{selector}"
        simulation.launch(kernel(row, selector), name, (1,), (32,), left, right, given.view(sums), metadata, found)
    product = dense.reshape(16, row.k) @ b[0].astype(np.float64) + c[0]
    return found, registers(row, "c", product[None].astype(sums)).view(sums)


def drawn(type: str, shape: tuple[int, ...], draw: np.random.Generator) -> np.ndarray:
    """Random numbers; bytes of all values."""
    if type in ("s8", "u8"):
        limits = np.iinfo(STORED[type])
        return draw.integers(limits.min, limits.max, shape, STORED[type], endpoint=True)
    return draw.standard_normal(shape).astype(STORED[type])


def words(row: Mma, kept: np.ndarray) -> Iterator[tuple[int, int]]:
    """Lanes, of those that the selector 0 says, and their metadata: of halves 8 of each of two rows, of bytes 16 of
    one."""
    per_word = 16 if row.c == "s32" else 8
    shifted = kept.reshape(16, -1, per_word).astype(np.uint32) << (2 * np.arange(per_word, dtype=np.uint32))
    bits = shifted.sum(axis=-1, dtype=np.uint32)
    for group, part in np.ndindex(8, bits.shape[1]):
        if row.c == "s32":
            yield from ((group * 4 + part * 2 + lower, int(bits[group + 8 * lower, part])) for lower in range(2))
        else:
            yield group * 4 + part, int(bits[group, part] | bits[group + 8, part] << np.uint32(16))


@pytest.mark.parametrize("row", SPARSE_MMAS, ids=lambda row: f"{row.a}_{row.b}_{row.k}")
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
