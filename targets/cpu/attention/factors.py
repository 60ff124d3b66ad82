"""In what the two products of an attention are computed: in float32, in pairs of bfloat16, or in fours of bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import tvm_ffi
from tvm import tirx
from tvm.ir import Expr, TensorLoad
from tvm_ffi.structural import StructuralMutator

from dsc.lower import floats
from dsc.lower.rounding import rounded
from dsc.targets.cpu.attention.problem import Problem
from dsc.targets.cpu.gemm.bfloat16_product import BFLOAT16
from dsc.targets.cpu.machine import Cpu
from dsc.targets.machine import MultiplyAdd

FLOAT32 = ("float32", "float32", "float32")
MOST_TERMS = 2**14
"""Of a sum of products of bytes. Each is below 2^16 with its zero points, and so are the three parts of which it is
made, so that 2^15 terms stay within 31 bits."""
_NORMAL = 2.0**-126
"""The smallest normal float32."""


def in_pairs(problem: Problem, machine: Cpu) -> bool:
    """Whether factors are multiplied in pairs of bfloat16: they may be rounded to it, the machine multiplies it, there
    is an even number of each, and values fill vectors."""
    if not problem.rounds or not machine.multiply_adds(*BFLOAT16):
        return False
    even = isinstance(problem.keys, int) and problem.keys % 2 == problem.depth % 2 == 0
    return even and problem.width % machine.lanes() == 0


def in_fours(problem: Problem, machine: Cpu) -> bool:
    """Whether factors are multiplied in fours of bytes: all of them are quantized, the machine multiplies such, and no
    sum leaves 32 bits, whatever the bytes are.

    A number of keys that only a run tells is taken: weights are probabilities, which make no such sum.
    """
    lengths = [size for size in (problem.depth, problem.keys) if isinstance(size, int)]
    return problem.quantized is not None and bool(_fours(machine)) and max(lengths) <= MOST_TERMS


def _fours(machine: Cpu) -> tuple[MultiplyAdd, ...]:
    """The instructions on bytes, those of unsigned times signed ones first: weights mostly are unsigned."""
    rows = (machine.multiply_adds(a, "int8", "int32") for a in ("uint8", "int8"))
    return next((fours for found in rows if (fours := tuple(row for row in found if row.k == 4))), ())


def instructions_of(problem: Problem, machine: Cpu) -> tuple[MultiplyAdd, ...]:
    """Those of both products, widest first."""
    if in_fours(problem, machine):
        return _fours(machine)
    return machine.multiply_adds(*(BFLOAT16 if in_pairs(problem, machine) else FLOAT32))


def instruction_of(problem: Problem, machine: Cpu, lanes: int) -> MultiplyAdd:
    """That of both products, for so many sums."""
    return [row for row in instructions_of(problem, machine) if row.n >= lanes][-1]


def by_reciprocals(value: Expr) -> Expr:
    """Quotients by numbers as products with their reciprocals. That makes one rounding two, of sums whose rounded
    factors have an error that is thousands of times as large. Numbers without a normal reciprocal stay."""

    def quotient(node: tirx.Div, mutator: StructuralMutator) -> Expr:
        divisor = node.b.args[0] if floats.is_call(node.b, "constant") else node.b
        if str(node.ty) != "float32" or not isinstance(divisor, tirx.FloatImm) or not _invertible(divisor.value):
            return mutator.default_mutate(node)
        return mutator.mutate(node.a) * floats.f32(1 / divisor.value)

    return tvm_ffi.structural_mutate(value, [(tirx.Div, quotient)])


def _invertible(number: float) -> bool:
    return _NORMAL <= abs(number) <= 1 / _NORMAL


def by_reciprocals_of(value: Expr, reciprocals: Mapping[tirx.Buffer, Expr]) -> Expr:
    """As `by_reciprocals`, and quotients by elements of the buffers that `reciprocals` has. Where a scale has no
    reciprocal that is a normal number, nothing is left of its quotients; such scales are below 2^-126."""

    def quotient(node: tirx.Div, mutator: StructuralMutator) -> Expr:
        divisor = node.b
        found = reciprocals.get(divisor.source) if isinstance(divisor, TensorLoad) else None
        return mutator.default_mutate(node) if found is None else mutator.mutate(node.a) * found

    return tvm_ffi.structural_mutate(by_reciprocals(value), [(tirx.Div, quotient)])


def pair(first: Expr, second: Expr) -> Expr:
    """Two numbers of float32 as bfloat16 in one integer, the first in its lower half."""
    low, high = (rounded(number).astype("uint32") for number in (first, second))
    return tirx.bitwise_or(low, tirx.shift_left(high, tirx.const(16, "uint32")))


def four(numbers: Sequence[Expr]) -> Expr:
    """Four bytes in one integer, the first in its lowest part."""
    first, *others = (number.astype("uint8").astype("uint32") for number in numbers)
    for i, number in enumerate(others, 1):
        first = tirx.bitwise_or(first, tirx.shift_left(number, tirx.const(8 * i, "uint32")))
    return first
