"""The kernel for products by weights of few bits."""

from __future__ import annotations

from dataclasses import dataclass

from dsc.lower.workload import Workload
from dsc.targets.cpu.machine import Cpu
from dsc.targets.cpu.weight_only.problem import weight_only_product
from dsc.targets.cpu.weight_only.space import WeightOnlySpace
from dsc.targets.kernel import Refusal


@dataclass(frozen=True)
class WeightOnly:
    """MatMul by a constant of 2, 4 or 8 bits with a scale, and maybe a zero point, for each group of its depth.

    The integers stay packed in memory.
    """

    name: str = "cpu.weight_only"

    def match(self, workload: Workload, machine: Cpu) -> WeightOnlySpace | Refusal:
        """The tilings of the product in `workload`."""
        found = weight_only_product(workload)
        return found if isinstance(found, Refusal) else WeightOnlySpace(found, machine)
