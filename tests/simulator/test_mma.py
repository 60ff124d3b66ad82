"""Each row of mma.sync computes the product, with registers laid out here as the PTX ISA's formulas say."""

from __future__ import annotations

from collections.abc import Iterator

import ml_dtypes
import numpy as np
import pytest

from dsc.simulator import simulated_cuda
from dsc.simulator.ptx.matrix import MMAS, Mma

_STORED = {
    "f16": np.float16,
    "bf16": ml_dtypes.bfloat16,
    "tf32": np.float32,
    "f32": np.float32,
    "s8": np.int8,
    "u8": np.uint8,
    "s32": np.int32,
}
Array = np.ndarray


def name(row: Mma) -> str:
    return f"m{row.m}n{row.n}k{row.k}_{row.a}_{row.b}_{row.c}{'_sat' if row.saturates else ''}"


def source() -> str:
    """A kernel for each row, in which a warp loads its registers, multiplies, and stores them."""
    return "\n".join(map(kernel, MMAS))


def kernel(row: Mma) -> str:
    counts = {
        "d": row.registers(row.m, row.n, row.c),
        "a": row.registers(row.m, row.k, row.a),
        "b": row.registers(row.k, row.n, row.b),
        "c": row.registers(row.m, row.n, row.c),
    }
    groups, first, bound = [], 0, {}
    for operand, count in counts.items():
        groups.append("{" + ", ".join(f"%{first + i}" for i in range(count)) + "}")
        kind = "f" if row.c == "f32" and operand in "dc" else "r"
        cast = {"f": f"__uint_as_float(r{operand}[{{i}}])", "r": f"r{operand}[{{i}}]"}[kind] if operand != "d" else ""
        target = {"f": "fd[{i}]", "r": "rd[{i}]"}[kind]
        bound[operand] = ", ".join(
            f'"={kind}"({target.format(i=i)})' if operand == "d" else f'"{kind}"({cast.format(i=i)})'
            for i in range(count)
        )
        first += count
    satfinite = ".satfinite" if row.saturates else ""
    opcode = f"mma.sync.aligned.m{row.m}n{row.n}k{row.k}.row.col{satfinite}.{row.c}.{row.a}.{row.b}.{row.c}"
    loads = "".join(
        f"unsigned r{x}[{n}]; for (int i = 0; i < {n}; ++i) r{x}[i] = {x}[threadIdx.x * {n} + i];\n"
        for x, n in counts.items()
        if x != "d"
    )
    n = counts["d"]
    store = "__float_as_uint(fd[i])" if row.c == "f32" else "rd[i]"
    return (
        f'extern "C" __global__ void __launch_bounds__(32) {name(row)}'
        "(const unsigned* a, const unsigned* b, const unsigned* c, unsigned* d) {\n"
        f"{loads}unsigned rd[{n}]; float fd[{n}]; (void)rd, (void)fd;\n"
        f'asm volatile("{opcode} {", ".join(groups)};" : {bound["d"]} : {bound["a"]}, {bound["b"]}, {bound["c"]});\n'
        f"for (int i = 0; i < {n}; ++i) d[threadIdx.x * {n} + i] = {store};\n}}"
    )


def places(row: Mma, operand: str) -> Iterator[tuple[int, int, int, tuple[int, ...]]]:
    """(lane, index among its elements, product, (row, column)) of each element of an operand."""
    type = {"a": row.a, "b": row.b, "c": row.c}[operand]
    wide = {"f16": 2, "bf16": 2, "tf32": 1, "s8": 4, "u8": 4}.get(type, 1)
    rows, columns = {"a": (row.m, row.k), "b": (row.k, row.n), "c": (row.m, row.n)}[operand]
    for lane in range(32):
        group, thread = lane >> 2, lane % 4
        for i in range(rows * columns * row.products // 32):
            if row.products == 4:
                yield lane, i, group % 4, _quad(operand, type, lane, i)
            elif operand == "a":
                at = group if row.m == 8 or (i // wide) % 2 == 0 else group + 8
                yield lane, i, 0, (at, thread * wide + i % wide + 4 * wide * (i // (wide * (row.m // 8))))
            elif operand == "b":
                yield lane, i, 0, (thread * wide + i % wide + 4 * wide * (i // wide), group)
            else:
                yield lane, i, 0, (group + 8 * (i // 2), thread * 2 + i % 2)


def _quad(operand: str, type: str, lane: int, i: int) -> tuple[int, int]:
    line = lane % 4 + (4 if lane >= 16 else 0)
    if operand == "a":
        return line, i
    if operand == "b":
        return i, line
    if type == "f16":
        return line, i
    return (lane & 1) + (i & 2) + (4 if lane >= 16 else 0), (i & 4) + (lane & 2) + (i & 1)


def registers(row: Mma, operand: str, matrices: Array) -> Array:
    elements = len(list(places(row, operand))) // 32
    packed = np.zeros((32, elements), matrices.dtype)
    for lane, i, product, at in places(row, operand):
        packed[lane, i] = matrices[(product, *at)]
    return packed.view(np.uint32)


def random_matrices(row: Mma, type: str, rows: int, columns: int, random: np.random.Generator) -> Array:
    shape = (row.products, rows, columns)
    if type in ("s8", "u8"):
        limits = np.iinfo(_STORED[type])
        return random.integers(limits.min, limits.max + 1, shape, _STORED[type])
    if type == "s32":
        return random.integers(-(2**31), 2**31, shape, np.int32)
    values = random.standard_normal(shape).astype(_STORED[type])
    return (values.view(np.uint32) & np.uint32(0xFFFFE000)).view(np.float32) if type == "tf32" else values


def product(row: Mma, a: Array, b: Array, c: Array) -> Array:
    if row.c != "s32":
        return a.astype(np.float64) @ b.astype(np.float64) + c.astype(np.float64)
    exact = a.astype(np.int64) @ b.astype(np.int64) + c
    return np.clip(exact, -(2**31), 2**31 - 1) if row.saturates else exact.astype(np.int32)


@pytest.fixture(scope="module")
def text() -> str:
    return source()


def test_every_row_multiplies(text: str) -> None:
    random = np.random.default_rng(5)
    with simulated_cuda("sm_80", checks=False) as simulation:
        for row in MMAS:
            a = random_matrices(row, row.a, row.m, row.k, random)
            b = random_matrices(row, row.b, row.k, row.n, random)
            c = random_matrices(row, row.c, row.m, row.n, random)
            inputs = [registers(row, operand, x) for operand, x in zip("abc", (a, b, c), strict=True)]
            d = np.zeros_like(inputs[2])
            simulation.launch(text, name(row), (1,), (32,), *inputs, d)
            expected = registers(row, "c", product(row, a, b, c).astype(_STORED[row.c]))
            stored = _STORED[row.c]
            # Sums of up to 16 products in another order; halves are rounded once, by a step of 2^-11.
            tolerance = {"f16": 2**-9, "f32": 1e-5, "s32": 0}[row.c]
            np.testing.assert_allclose(
                d.view(stored).astype(np.float64),
                expected.view(stored).astype(np.float64),
                rtol=tolerance,
                atol=tolerance,
                err_msg=name(row),
            )
