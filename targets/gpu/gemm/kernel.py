"""The kernel for matrix products."""

from __future__ import annotations

from dataclasses import dataclass

from dsc.lower.workload import Workload
from dsc.targets.cpu.gemm.product import product_of
from dsc.targets.gpu.gemm.space import GemmSpace
from dsc.targets.gpu.machine import Gpu
from dsc.targets.kernel import Refusal


@dataclass(frozen=True)
class Gemm:
    """MatMul and Gemm in float32, with an elementwise epilogue: constant or computed operands, any sizes."""

    name: str = "gpu.gemm"

    def match(self, workload: Workload, machine: Gpu) -> GemmSpace | Refusal:
        """The tilings of the product in `workload`."""
        source = product_of(workload)
        if isinstance(source, Refusal):
            return source
        rows = [row for row in machine.multiply_adds(*source.operands) if row.m == 1]
        return GemmSpace(source, machine, rows[0]) if rows else Refusal(f"no instruction for {source.operands[0]}")
