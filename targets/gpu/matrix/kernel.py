"""The kernel for matrix products and convolutions by instructions on matrices."""

from __future__ import annotations

from dataclasses import dataclass

from dsc.lower.workload import Workload
from dsc.targets.gpu.contraction.source import contraction_of
from dsc.targets.gpu.machine import Gpu
from dsc.targets.gpu.matrix.exact import SINGLE
from dsc.targets.gpu.matrix.instructions import fragments_of
from dsc.targets.gpu.matrix.side import Side
from dsc.targets.gpu.matrix.space import MatrixSpace
from dsc.targets.kernel import Refusal

TF32 = "tfloat32"
"""As instructions have it: float32 of which 10 bits of the fraction are multiplied."""


@dataclass(frozen=True)
class ContractMatrices:
    """Matrix products, convolutions and the like of factors that are float16 or bfloat16, or may be rounded to tf32,
    with sums in float32 and an elementwise epilogue."""

    name: str = "gpu.matrix"

    def match(self, workload: Workload, machine: Gpu) -> MatrixSpace | Refusal:
        """The tilings of the contraction in `workload`."""
        source = contraction_of(workload)
        if isinstance(source, Refusal):
            return source
        sides = Side.left(source), Side.right(source)
        elements = [_multiplied_as(side, workload) for side in sides]
        if elements[0] != elements[1]:
            return Refusal(f"factors of {elements[0]} and {elements[1]}")
        rows = machine.multiply_adds(elements[0], elements[1], str(source.acc.dtype))
        found = {str(row.intrinsic): (row, fragments) for row in rows if (fragments := fragments_of(row)) is not None}
        if not found:
            return Refusal(f"no instruction on matrices of {elements[0]}")
        space = MatrixSpace(source, machine, sides, found)
        return space if space.points() else Refusal("no tile fits the machine")


def _multiplied_as(side: Side, workload: Workload) -> str:
    """The type of a factor's elements, as an instruction has it."""
    return TF32 if side.element == SINGLE and getattr(workload, "multiplied_as", None) == TF32 else side.element
