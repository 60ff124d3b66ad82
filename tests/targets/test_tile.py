"""The register tile by itself: for every multiply-add of CPUs, the inner loop LLVM makes of it, and its numbers."""

from __future__ import annotations

import numpy as np
import pytest
import tvm
from tvm import tirx
from tvm.ir import Expr

from dsc.codegen.objects import compile_kernel
from dsc.codegen.single import load_kernel
from dsc.runtime.devices import device
from dsc.targets import target
from dsc.targets.arm import machines as arm
from dsc.targets.cpu.machine import Cpu
from dsc.targets.cpu.matrix_tile import MatrixTile, most_stacked_rows
from dsc.targets.cpu.tile import RegisterTile, most_rows
from dsc.targets.machine import MultiplyAdd
from dsc.targets.tir.loops import Loops, argument, function
from dsc.targets.x86 import machines as x86
from dsc.targets.x86.host import native
from tests.targets.assembly import ARM, X86

VECTORS, STEPS = 3, 100
"""With so many vectors the largest tile of FMA takes each of AVX2's 16 registers."""
ARM_NAMES = {"usdot": "sudot"}
"""What LLVM writes where a lane is the unsigned operand."""
STORED = {"bfloat16": "uint16"}
"""How memory holds elements that TVM does not know."""


def distinct() -> dict[str, tuple[Cpu, MultiplyAdd]]:
    """Each instruction of vectors in each width once, with the first machine that has it."""
    found: dict[str, tuple[Cpu, MultiplyAdd]] = {}
    for machine in (*x86.MACHINES, *arm.MACHINES):
        for row in (row for row in machine.instructions if row.m == 1):
            found.setdefault(f"{row.name}-{row.n}", (machine, row))
    return found


CASES = distinct()


def small_product(row: MultiplyAdd, rows: int, depth: int) -> tirx.PrimFunc:
    """``out = a @ b``, `a` as [rows][steps * k], `b` in panels as [steps][columns * k]. `depth` steps at once."""
    loops, columns, k = Loops("int32"), VECTORS * row.n, row.k
    with function() as made:
        a = argument("a", (rows, STEPS * k), STORED.get(row.a, row.a))
        b = argument("b", (STEPS, columns * k), STORED.get(row.b, row.b))
        out = argument("out", (rows, columns), row.accumulator)
        tile = RegisterTile(row, rows, columns)
        tile.clear()
        with loops.each(STEPS // depth) as part:
            first = part * depth

            def of_b(later: int) -> list[Expr]:
                return [b[first + later, loops.span(start * k, lanes * k)] for start, lanes in tile.vectors]

            tile.steps([a[i, loops.span(first * k, depth * k)] for i in range(rows)], of_b)
        tile.store(out, lambda i: [i], loops)
    return made.get()


def largest(machine: Cpu, row: MultiplyAdd) -> tuple[int, int]:
    """Rows of the largest tile, and steps whose elements of `a` are loaded together."""
    depth = row.n if machine.lane_operand else 1
    return most_rows(row, VECTORS, machine.vector_registers, depth > 1), depth


@pytest.mark.parametrize("name", CASES)
def test_the_inner_loop_is_the_instruction_for_each_vector_and_nothing_spills(name: str) -> None:
    machine, row = CASES[name]
    rows, depth = largest(machine, row)
    backend = target(machine.name).backend()
    func = small_product(row, rows, depth).with_attr("global_symbol", "product")
    syntax, name = (ARM, ARM_NAMES.get(row.name, row.name)) if machine.name.startswith("arm") else (X86, row.name)
    (loop,) = syntax.innermost_loops(backend.assembly(compile_kernel("product", func, backend)), name)
    assert syntax.count(loop, name) in (depth * rows * VECTORS, 2 * depth * rows * VECTORS)  # where LLVM unrolls it
    assert not syntax.on_stack(loop) + syntax.calls(loop)


def elements(dtype: str, shape: tuple[int, ...], random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Random elements as memory holds them, and as numbers."""
    if dtype == "bfloat16":
        bits = (random.standard_normal(shape, np.float32).view(np.uint32) >> 16).astype(np.uint16)
        return bits, (bits.astype(np.uint32) << 16).view(np.float32)
    if dtype == "float32":
        values = random.standard_normal(shape, np.float32)
        return values, values
    least, most = (np.iinfo(dtype).min, np.iinfo(dtype).max) if dtype.endswith("int8") else (-255, 255)
    values = random.integers(least, most, shape, dtype, endpoint=True)
    return values, values.astype(np.int64)


@pytest.mark.parametrize("name", CASES)
def test_the_numbers_are_right_where_the_host_has_the_instruction(name: str) -> None:
    machine, row = CASES[name]
    if not machine.features <= native().features:
        pytest.skip(f"the host is not an {machine.name}")
    rows, depth = largest(machine, row)
    random = np.random.default_rng(5)
    a, left = elements(row.a, (rows, STEPS * row.k), random)
    b, right = elements(row.b, (STEPS, VECTORS * row.n * row.k), random)
    out = tvm.runtime.tensor(np.zeros((rows, VECTORS * row.n), row.accumulator))
    backend, here = target(machine.name).backend(), device("cpu", "this test")
    kernel = load_kernel(small_product(row, rows, depth), backend, here, threads=1)
    kernel(tvm.runtime.tensor(a), tvm.runtime.tensor(b), out)
    packed = right.reshape(STEPS, VECTORS * row.n, row.k).transpose(0, 2, 1).reshape(STEPS * row.k, -1)
    expected = left @ packed
    if row.accumulator == "int32":
        np.testing.assert_array_equal(out.numpy(), expected)
    else:  # sums of 100 or 200 products in another order
        np.testing.assert_allclose(out.numpy(), expected, atol=1e-4)


def test_whole_vectors_only_for_what_is_no_plain_arithmetic() -> None:
    row = next(row for _, row in CASES.values() if row.intrinsic is not None)
    with function(), pytest.raises(ValueError, match=f"{row.name} has {row.n} lanes"):
        RegisterTile(row, 1, row.n + 1)


MATRICES = {row.name: row for machine in arm.MACHINES for row in machine.instructions if row.m > 1}


def small_matrix_product(row: MultiplyAdd, rows: int, vectors: int) -> tirx.PrimFunc:
    """``out = a @ b``, `a` as [rows / m][steps * m * k], `b` in panels as [steps][columns * k]."""
    loops, columns, k, size = Loops("int32"), vectors * row.m * row.n, row.k, row.m * row.k
    with function() as made:
        a = argument("a", (rows // row.m, STEPS * size), STORED.get(row.a, row.a))
        b = argument("b", (STEPS, columns * k), STORED.get(row.b, row.b))
        out = argument("out", (rows, columns), row.accumulator)
        tile = MatrixTile(row, rows, columns)
        tile.clear()
        with loops.each(STEPS) as step:
            left = [a[stack, loops.span(step * size, size)] for stack in range(rows // row.m)]
            tile.step(left, [b[step, loops.span(start * k, lanes * k)] for start, lanes in tile.vectors])
        tile.finish()
        tile.store(out, lambda i: [i], loops)
    return made.get()


@pytest.mark.parametrize("vectors", [1, 2, 3, 4, 5, 8])
@pytest.mark.parametrize("name", MATRICES)
def test_the_inner_loop_of_matrices_is_the_instruction_and_nothing_spills(name: str, vectors: int) -> None:
    """Their numbers: tests/bundle/test_arm_kernels.py."""
    row, backend = MATRICES[name], target("arm:neoverse-v1").backend()
    rows = most_stacked_rows(row, vectors, 32)
    func = small_matrix_product(row, rows, vectors).with_attr("global_symbol", "product")
    (loop,) = ARM.innermost_loops(backend.assembly(compile_kernel("product", func, backend)), name)
    wanted = rows // row.m * vectors * row.m
    assert ARM.count(loop, name) in (wanted, 2 * wanted)  # where LLVM unrolls it
    assert not ARM.on_stack(loop) + ARM.calls(loop)


def test_matrices_of_other_sizes_are_refused() -> None:
    row = MATRICES["smmla"]
    for rows, columns in ((3, 4), (2, 6)):
        with function(), pytest.raises(ValueError, match="smmla is of 2 x 2 sums"):
            MatrixTile(row, rows, columns)
