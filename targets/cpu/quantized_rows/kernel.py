"""The kernel for products by weights of few bits whose activations may become bytes."""

from __future__ import annotations

from dataclasses import dataclass

from dsc.lower.workload import Workload
from dsc.targets.cpu.machine import Cpu
from dsc.targets.cpu.quantized_rows.problem import byte_product
from dsc.targets.cpu.quantized_rows.space import QuantizedRowsSpace
from dsc.targets.kernel import Refusal


@dataclass(frozen=True)
class QuantizedRows:
    """MatMul by a constant of 4 or 8 bits with a scale for each group of its depth, where activations may be rounded.

    Each row of them is quantized while a task copies it, in groups that have a step each, and multiplied as bytes.
    """

    name: str = "cpu.quantized_rows"

    def match(self, workload: Workload, machine: Cpu) -> QuantizedRowsSpace | Refusal:
        """The tilings of the product in `workload`."""
        found = byte_product(workload, machine)
        return found if isinstance(found, Refusal) else QuantizedRowsSpace(found, machine)
