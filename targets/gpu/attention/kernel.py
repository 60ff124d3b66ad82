"""The kernel for attention."""

from __future__ import annotations

from dataclasses import dataclass

from dsc.lower.workload import Workload
from dsc.targets.cpu.attention.problem import problem_of
from dsc.targets.gpu.attention.space import AttentionSpace
from dsc.targets.gpu.machine import Gpu
from dsc.targets.kernel import Refusal


@dataclass(frozen=True)
class Attention:
    """Attention in float32, any scale and mask, any layout of the heads, any number of queries and keys."""

    name: str = "gpu.attention"

    def match(self, workload: Workload, machine: Gpu) -> AttentionSpace | Refusal:
        """The blockings of the attention in `workload`."""
        found = problem_of(workload)
        if isinstance(found, Refusal):
            return found
        if found.weights is not found.probabilities:
            return Refusal("the weights are changed after the softmax")
        rows = [row for row in machine.multiply_adds("float32", "float32", "float32") if row.m == row.k == 1]
        if not rows:
            return Refusal("no instruction for float32")
        space = AttentionSpace(found, machine, rows[0])
        return space if space.points() else Refusal("heads too wide for the memory that a block shares")
