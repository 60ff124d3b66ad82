"""The kernel for matrix products and convolutions."""

from __future__ import annotations

from dataclasses import dataclass

from dsc.lower.workload import Workload
from dsc.targets.gpu.contraction.packing import packed
from dsc.targets.gpu.contraction.source import contraction_of
from dsc.targets.gpu.contraction.space import ContractionSpace
from dsc.targets.gpu.machine import Gpu
from dsc.targets.kernel import Refusal


@dataclass(frozen=True)
class Contract:
    """Matrix products, convolutions of one group and the like, with an elementwise epilogue: constant or computed
    operands, any sizes."""

    name: str = "gpu.contraction"

    def match(self, workload: Workload, machine: Gpu) -> ContractionSpace | Refusal:
        """The tilings of the contraction in `workload`."""
        source = contraction_of(workload)
        if isinstance(source, Refusal):
            return source
        rows = [row for row in machine.multiply_adds(*source.operands) if row.m == row.k == 1]
        if not rows:
            return Refusal(f"no instruction for {' x '.join(source.operands[:2])}")
        return ContractionSpace(packed(source, workload), machine, rows[0])
