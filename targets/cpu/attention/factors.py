"""In what the two products of an attention are computed: in float32, or in pairs of bfloat16."""

from __future__ import annotations

from tvm import tirx
from tvm.ir import Expr

from dsc.lower.rounding import rounded
from dsc.targets.cpu.attention.problem import Problem
from dsc.targets.cpu.gemm.bfloat16_product import BFLOAT16
from dsc.targets.cpu.machine import Cpu
from dsc.targets.machine import MultiplyAdd


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


def pair(first: Expr, second: Expr) -> Expr:
    """Two numbers of float32 as bfloat16 in one integer, the first in its lower half."""
    low, high = (rounded(number).astype("uint32") for number in (first, second))
    return tirx.bitwise_or(low, tirx.shift_left(high, tirx.const(16, "uint32")))
