"""Matrix instructions of AMD's, with registers filled as the AMD Matrix Instruction Calculator lays them out."""

from __future__ import annotations

from dataclasses import dataclass

import ml_dtypes
import numpy as np
import pytest

from dsc.simulator import simulated_kernels

Array = np.ndarray
BFLOAT, HALF, FLOAT, BYTE, UBYTE, INT = ml_dtypes.bfloat16, np.float16, np.float32, np.int8, np.uint8, np.int32


@dataclass(frozen=True)
class Row:
    """An instruction: its shape, what LLVM calls its operands, and of which types they are."""

    name: str
    arch: str
    m: int
    k: int
    operand: str
    element: object
    total: object = FLOAT
    flags: str = ", i32 0, i32 0, i32 0"
    signs: tuple[str, str] = ("", "")

    @property
    def lanes(self) -> int:
        return 64 if "mfma" in self.name else 32

    @property
    def result(self) -> str:
        return f"<{self.m * self.m // self.lanes} x {'i32' if self.total is INT else 'float'}>"


NONE = ""
SIGNED, UNSIGNED = "i1 true, ", "i1 false, "
ROWS = (
    Row("mfma.f32.32x32x8f16", "gfx90a", 32, 8, "<4 x half>", HALF),
    Row("mfma.f32.16x16x16f16", "gfx942", 16, 16, "<4 x half>", HALF),
    Row("mfma.f32.32x32x8bf16.1k", "gfx942", 32, 8, "<4 x i16>", BFLOAT),
    Row("mfma.f32.16x16x16bf16.1k", "gfx90a", 16, 16, "<4 x i16>", BFLOAT),
    Row("mfma.f32.32x32x2f32", "gfx90a", 32, 2, "float", FLOAT),
    Row("mfma.f32.16x16x4f32", "gfx942", 16, 4, "float", FLOAT),
    Row("mfma.f32.32x32x4.xf32", "gfx942", 32, 4, "<2 x float>", FLOAT),
    Row("mfma.f32.16x16x8.xf32", "gfx942", 16, 8, "<2 x float>", FLOAT),
    Row("mfma.i32.32x32x8i8", "gfx90a", 32, 8, "i32", BYTE, INT),
    Row("mfma.i32.16x16x16i8", "gfx90a", 16, 16, "i32", BYTE, INT),
    Row("mfma.i32.32x32x16.i8", "gfx942", 32, 16, "i64", BYTE, INT),
    Row("mfma.i32.16x16x32.i8", "gfx942", 16, 32, "i64", BYTE, INT),
    Row("wmma.f32.16x16x16.f16.v8f32.v16f16", "gfx1100", 16, 16, "<16 x half>", HALF, FLOAT, NONE),
    Row("wmma.f32.16x16x16.bf16.v8f32.v16i16", "gfx1100", 16, 16, "<16 x i16>", BFLOAT, FLOAT, NONE),
    Row("wmma.i32.16x16x16.iu8.v8i32.v4i32", "gfx1100", 16, 16, "<4 x i32>", BYTE, INT, ", i1 false", (SIGNED, SIGNED)),
    Row("wmma.i32.16x16x16.iu8.v8i32.v4i32", "gfx1100", 16, 16, "<4 x i32>", UBYTE, INT, ", i1 false", (UNSIGNED,) * 2),
    Row("wmma.f32.16x16x16.f16.v8f32.v8f16", "gfx1200", 16, 16, "<8 x half>", HALF, FLOAT, NONE),
    Row("wmma.i32.16x16x16.iu8.v8i32.v2i32", "gfx1200", 16, 16, "<2 x i32>", BYTE, INT, ", i1 true", (SIGNED, SIGNED)),
)


def code(row: Row) -> str:
    """A kernel in which each lane loads its registers of a, b and c, multiplies, and stores those of d."""
    arrays = "".join(f"ptr addrspace(1) %{name}, " for name in "abcd")
    types = {"a": row.operand, "b": row.operand, "c": row.result}
    loads = "".join(
        f"  %{name}.at = getelementptr {type}, ptr addrspace(1) %{name}, i32 %t\n"
        f"  %{name}.in = load {type}, ptr addrspace(1) %{name}.at, align 1\n"
        for name, type in types.items()
    )
    a, b = (f"{sign}{row.operand} %{name}.in" for sign, name in zip(row.signs, "ab", strict=True))
    return f"""
define amdgpu_kernel void @k({arrays}i32 %n) {{
  %t = call i32 @llvm.amdgcn.workitem.id.x()
{loads}
  %d.out = call {row.result} @llvm.amdgcn.{row.name}({a}, {b}, {row.result} %c.in{row.flags})
  %d.at = getelementptr {row.result}, ptr addrspace(1) %d, i32 %t
  store {row.result} %d.out, ptr addrspace(1) %d.at, align 4
  ret void
}}
"""


def factor(row: Row, matrix: Array) -> Array:
    """What lanes hold of a matrix of m rows (columns, of b) and k in depth."""
    m, k = matrix.shape
    held = []
    for lane in range(row.lanes):
        if "v16" in row.name or "v4i32" in row.name:  # gfx11: both halves hold the same
            held.append(matrix[lane % 16])
        else:
            each = m * k // row.lanes
            held.append(matrix[lane % m, each * (lane // m) : each * (lane // m + 1)])
    return np.ascontiguousarray(np.stack(held))


def sum_places(row: Row) -> tuple[Array, Array]:
    """Row and column of each register of the result, by lane."""
    lane, register = np.meshgrid(np.arange(row.lanes), np.arange(row.m**2 // row.lanes), indexing="ij")
    if row.m == 32:
        return 8 * (register // 4) + 4 * (lane // 32) + register % 4, lane % 32
    if row.lanes == 64:
        return 4 * (lane // 16) + register, lane % 16
    if row.arch == "gfx1100":
        return 2 * register + lane // 16, lane % 16
    return 8 * (lane // 16) + register, lane % 16


def operands(row: Row, seed: int = 3) -> tuple[Array, Array, Array]:
    """Small whole numbers: products and sums are exact in every type."""
    random = np.random.default_rng(seed)
    low = 0 if row.element is UBYTE else -9
    a, b = (random.integers(low, 10, (row.m, row.k)) for _ in range(2))
    return a, b, random.integers(-9, 10, (row.m, row.m))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.name}-{np.dtype(row.element).name}")
def test_products(row: Row) -> None:
    a, b, c = operands(row)
    rows, columns = sum_places(row)
    given = [factor(row, a.astype(row.element)), factor(row, b.astype(row.element)), c[rows, columns].astype(row.total)]
    given = [np.ascontiguousarray(each).view(np.uint8) for each in given]
    found = np.zeros(rows.shape, row.total)
    with simulated_kernels(row.arch, order="reverse") as simulation:
        simulation.launch(code(row), "k", (1,), (row.lanes,), *given, found, 0)
        counters = simulation.counters()["k"]
    np.testing.assert_array_equal(found, (a @ b.T + c)[rows, columns])
    assert (counters.matrix_multiplies, counters.matrix_macs) == (1, row.m * row.m * row.k)
