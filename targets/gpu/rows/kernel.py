"""The kernel for rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from dsc.lower.workload import Workload
from dsc.targets.gpu.machine import Gpu
from dsc.targets.gpu.rows.code import write
from dsc.targets.gpu.rows.cost import Cost
from dsc.targets.gpu.rows.program import Program, program_of
from dsc.targets.gpu.rows.sharing import Sharing, candidates
from dsc.targets.kernel import Implementation, Refusal

COALESCING = 0.8
"""Of the sectors that a sharing moves, the share that has to be of use."""


@dataclass(frozen=True, eq=False)
class RowsSpace:
    """The ways to share the rows of one program."""

    program: Program
    machine: Gpu

    def points(self) -> Sequence[Sharing]:
        """Those that fit a multiprocessor, and use most of what they move, if there are any: L2 is everybody's."""
        found = [each for each in candidates(self.program, self.machine) if math.isfinite(self.estimate(each))]
        return [each for each in found if self._cost.coalescing(each) >= COALESCING] or found

    def estimate(self, point: Sharing) -> float:
        """Seconds."""
        return self._cost.seconds(point)

    def build(self, point: Sharing) -> Implementation:
        """The code."""
        return Implementation(write(self.program, point, self.machine))

    @cached_property
    def _cost(self) -> Cost:
        return Cost(self.program, self.machine)


@dataclass(frozen=True)
class ReduceRows:
    """Regions whose reductions all go along the elements of a row: norms, softmax, the mean of an image. Of any
    types; the length of rows is known, their number need not be."""

    name: str = "gpu.rows"

    def match(self, workload: Workload, machine: Gpu) -> RowsSpace | Refusal:
        """The ways to share the rows of `workload`."""
        program = program_of(workload)
        return program if isinstance(program, Refusal) else RowsSpace(program, machine)
