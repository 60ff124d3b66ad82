"""The kernel for products by matrices that each vector chooses."""

from __future__ import annotations

from dataclasses import dataclass

from dsc.lower.workload import Workload
from dsc.targets.cpu.chosen_weights.problem import chosen_product
from dsc.targets.cpu.chosen_weights.space import ChosenWeightsSpace
from dsc.targets.cpu.machine import Cpu
from dsc.targets.kernel import Refusal


@dataclass(frozen=True)
class ChosenWeights:
    """MatMul of single rows by matrices that Gather takes from a constant stack of them, with an elementwise epilogue.

    No matrix is copied; those that no row chooses are not read, and the others once for all rows that choose them.
    """

    name: str = "cpu.chosen_weights"

    def match(self, workload: Workload, machine: Cpu) -> ChosenWeightsSpace | Refusal:
        """The tilings of the product in `workload`."""
        found = chosen_product(workload)
        return found if isinstance(found, Refusal) else ChosenWeightsSpace(found, machine)
