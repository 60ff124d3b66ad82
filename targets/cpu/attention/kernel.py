"""The kernel for attention."""

from __future__ import annotations

from dataclasses import dataclass

from dsc.lower.workload import Workload
from dsc.targets.cpu.attention.masking import masking_of
from dsc.targets.cpu.attention.problem import problem_of
from dsc.targets.cpu.attention.space import AttentionSpace
from dsc.targets.cpu.machine import Cpu
from dsc.targets.kernel import Refusal


@dataclass(frozen=True)
class Attention:
    """Attention in float32, any scale and mask, any layout of the heads, any number of queries and keys.

    Products of bfloat16 where factors may be rounded to that, see `factors`.
    """

    name: str = "cpu.attention"

    def match(self, workload: Workload, machine: Cpu) -> AttentionSpace | Refusal:
        """The blockings of the attention in `workload`."""
        found = problem_of(workload)
        return found if isinstance(found, Refusal) else AttentionSpace(found, machine, masking_of(workload, found))
