"""The kernel for matrix products and convolutions by instructions of warpgroups."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from dsc.lower.workload import Workload
from dsc.targets.gpu.contraction.packing import packed
from dsc.targets.gpu.contraction.source import contraction_of
from dsc.targets.gpu.machine import Gpu
from dsc.targets.gpu.matrix.kernel import by_line, multiplied_as
from dsc.targets.gpu.matrix.side import Side
from dsc.targets.gpu.warpgroup_matrix.instruction import wgmma
from dsc.targets.gpu.warpgroup_matrix.space import WarpgroupSpace
from dsc.targets.kernel import Refusal


@dataclass(frozen=True)
class ContractWarpgroups:
    """Matrix products, convolutions and the like of factors that are float16 or bfloat16, or may be rounded to these,
    with sums in float32 and an elementwise epilogue, on machines whose warpgroups multiply what is in shared memory."""

    name: str = "gpu.warpgroup_matrix"

    def match(self, workload: Workload, machine: Gpu) -> WarpgroupSpace | Refusal:
        """The tilings of the contraction in `workload`."""
        source = contraction_of(workload)
        if isinstance(source, Refusal):
            return source
        element = multiplied_as(source, workload)
        if isinstance(element, Refusal):
            return element
        rows = machine.multiply_adds(element, element, str(source.acc.dtype))
        instructions = {made.name: (row, made) for row in rows if (made := wgmma(row)) is not None}
        if not instructions:
            return Refusal(f"no instruction of warpgroups on matrices of {element}")
        source = packed(source, workload, partial(by_line, element, True))
        sides = (
            Side(source.a, source.rows, source.depth, source.params, element),
            Side(source.b, source.columns, source.depth, source.params, element),
        )
        space = WarpgroupSpace(source, machine, sides, instructions)
        return space if space.points() else Refusal("no tile fits the machine")
