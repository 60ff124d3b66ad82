"""In what the two products of an attention are computed: in float32, or in pairs of bfloat16."""

from __future__ import annotations

import tvm_ffi
from tvm import tirx
from tvm.ir import Expr
from tvm_ffi.structural import StructuralMutator

from dsc.lower import floats
from dsc.lower.rounding import rounded
from dsc.targets.cpu.attention.problem import Problem
from dsc.targets.cpu.gemm.bfloat16_product import BFLOAT16
from dsc.targets.cpu.machine import Cpu
from dsc.targets.machine import MultiplyAdd

_NORMAL = 2.0**-126
"""The smallest normal float32."""


def in_pairs(problem: Problem, machine: Cpu) -> bool:
    """Whether factors are multiplied in pairs of bfloat16: they may be rounded to it, the machine multiplies it, there
    is an even number of each, and values fill vectors."""
    if not problem.rounds or not machine.multiply_adds(*BFLOAT16):
        return False
    even = isinstance(problem.keys, int) and problem.keys % 2 == problem.depth % 2 == 0
    return even and problem.width % machine.lanes() == 0


def instruction_of(problem: Problem, machine: Cpu, lanes: int) -> MultiplyAdd:
    """That of both products, for so many sums."""
    return machine.multiply_add(lanes, *BFLOAT16) if in_pairs(problem, machine) else machine.multiply_add(lanes)


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


def pair(first: Expr, second: Expr) -> Expr:
    """Two numbers of float32 as bfloat16 in one integer, the first in its lower half."""
    low, high = (rounded(number).astype("uint32") for number in (first, second))
    return tirx.bitwise_or(low, tirx.shift_left(high, tirx.const(16, "uint32")))
