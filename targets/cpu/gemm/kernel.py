"""The kernel for matrix products."""

from __future__ import annotations

from dataclasses import dataclass

from dsc.lower.workload import Workload
from dsc.targets.cpu.gemm.product import product_of
from dsc.targets.cpu.gemm.space import GemmSpace
from dsc.targets.cpu.machine import Cpu
from dsc.targets.kernel import Refusal


@dataclass(frozen=True)
class Gemm:
    """MatMul and Gemm in float32 with an elementwise epilogue: constant or computed ``b``, any sizes.

    A vector times a matrix is the tile of one row: a stream of weights.
    """

    name: str = "cpu.gemm"

    def match(self, workload: Workload, machine: Cpu) -> GemmSpace | Refusal:
        """The tilings of the product in `workload`."""
        found = product_of(workload)
        return found if isinstance(found, Refusal) else GemmSpace(found, machine)
