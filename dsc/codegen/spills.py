"""Kernels whose code keeps registers in memory make way for others that are about as fast."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

from dsc.codegen.selection import Candidate, Choice, fastest_by_estimate
from dsc.lower.workload import Workload

_LOG = logging.getLogger(__name__)
TOLERATED = 1.25
"""Times the fastest's estimate that a candidate without spills may take: estimates take all to be in registers, and
what goes to memory in an inner loop costs at least as much as that."""
TRIES = 3
"""Candidates of a workload that are compiled before the fastest is taken as it is."""


@dataclass
class Spills:
    """Candidates that spilled when they were compiled, by workload."""

    _found: dict[tuple[str, str, str], int] = field(default_factory=dict)
    """Bytes, by the workload's key, kernel and point."""

    def fastest(self, workload: Workload, candidates: Sequence[Candidate]) -> Candidate:
        """The chooser of -O2 beside these: the first by estimate that did not spill, unless it is much slower."""
        fastest, key = fastest_by_estimate(workload, candidates), workload.key()
        spilled = [(kernel, point) for found, kernel, point in self._found if found == key]
        near = [c for c in candidates if c.estimate <= TOLERATED * fastest.estimate] if len(spilled) < TRIES else []
        return next((c for c in near if (c.kernel.name, str(c.point)) not in spilled), fastest)

    def note(self, choices: Sequence[Choice]) -> bool:
        """Note which of the choices, whose resources are known, spill; whether any was not known to."""
        new = False
        for choice in choices:
            place = choice.workload, choice.kernel, choice.point
            spilled = sum(used.spilled_bytes for used in choice.resources)
            if spilled and place not in self._found:
                self._found[place] = spilled
                new = True
        return new

    def of(self, choice: Choice) -> tuple[tuple[str, int], ...]:
        """The points of other candidates for the choice's workload that spilled, and how many bytes."""
        return tuple(
            (f"{kernel} {point}", size)
            for (workload, kernel, point), size in self._found.items()
            if workload == choice.workload and (kernel, point) != (choice.kernel, choice.point)
        )

    def warn(self, choices: Sequence[Choice], target: str) -> None:
        """Say what was avoided, and what spills all the same."""
        for choice in choices:
            for point, size in self.of(choice):
                _LOG.warning(
                    "%s keeps %d bytes of registers in memory on %s; %s %s is taken for this %s",
                    point, size, target, choice.kernel, choice.point, choice.kind,
                )  # fmt: skip
            if spilled := sum(used.spilled_bytes for used in choice.resources):
                _LOG.warning(
                    "%s %s keeps %d bytes of registers in memory on %s, and nothing else is nearly as fast for this %s",
                    choice.kernel, choice.point, spilled, target, choice.kind,
                )  # fmt: skip
