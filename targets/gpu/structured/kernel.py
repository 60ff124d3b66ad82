"""The kernel for products by a weight of which two of each four neighbouring inputs are kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from dsc.lower.workload import Workload
from dsc.sparsity import Pattern
from dsc.targets.gpu.machine import Gpu
from dsc.targets.gpu.sparse.kernel import sparse_product
from dsc.targets.gpu.structured.instruction import mma_sparse
from dsc.targets.gpu.structured.space import StructuredSpace
from dsc.targets.kernel import Refusal

TWO_OF_FOUR = (2, 4)


@dataclass(frozen=True)
class StructuredMatmul:
    """Matrix products, and convolutions of single pixels, of halves, or of bytes less zero points, by a weight in the
    pattern 2:4, with sums in float32 or int32 and an elementwise epilogue, on machines that multiply such matrices."""

    skips_zeros: ClassVar[bool] = True
    name: str = "gpu.structured_matmul"

    def match(self, workload: Workload, machine: Gpu) -> StructuredSpace | Refusal:
        """The tilings of the contraction in `workload`."""
        found = sparse_product(workload)
        if isinstance(found, Refusal):
            return found
        source, side, weight = found.source, found.sides[0], found.weight
        if Pattern.parse(weight.encoding.pattern.data).limit != TWO_OF_FOUR:
            return Refusal("not two of each four inputs are kept")
        depth = weight.view.steps[len(weight.view.steps) - len(source.depth) :]
        if list(depth) != sorted(depth, reverse=True):
            return Refusal("inputs are not walked in the order of the pattern")
        wanted = weight.element, side.element, str(source.acc.dtype)
        rows = [row for row in machine.structured if row.operands == wanted]
        made = [(row, by) for row in rows if (by := mma_sparse(row)) is not None]
        if not made:
            return Refusal(f"no instruction on matrices of {side.element} of which half is there")
        space = StructuredSpace(source, side, weight.index, weight.view, machine, *made[0])
        return space if space.points() else Refusal("no tile fits the machine")
