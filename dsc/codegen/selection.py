"""Which kernel computes a workload: every kernel of the target is asked, the candidates are ranked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from dsc.lower.workload import Workload
from dsc.targets.kernel import Implementation, Kernel, Point, Refusal, Space
from dsc.targets.machine import Machine


@dataclass(frozen=True)
class Candidate:
    """One way to compute a workload: a point of a kernel's design space."""

    kernel: Kernel
    space: Space
    point: Point
    estimate: float
    """Seconds, by the kernel's own model."""

    def build(self) -> Implementation:
        """The scheduled code."""
        return self.space.build(self.point)


Chooser: TypeAlias = Callable[[Workload, Sequence[Candidate]], Candidate]
"""Takes one of the candidates, which are sorted by estimate, fastest first."""


@dataclass(frozen=True)
class Choice:
    """What was decided for a workload, for the report."""

    function: str
    """Name of the code in the library."""
    kind: str
    """Fusion kind or op."""
    workload: str
    """`Workload.key()`."""
    kernel: str
    point: str
    estimate: float
    refusals: tuple[tuple[str, str], ...]
    """(kernel, reason) for each that could not."""
    candidates: int
    """How many there were to choose from."""


def fastest_by_estimate(_: Workload, candidates: Sequence[Candidate]) -> Candidate:
    """The chooser of -O2."""
    return candidates[0]


def candidates(
    workload: Workload, kernels: Sequence[Kernel], machine: Machine
) -> tuple[list[Candidate], list[tuple[str, str]]]:
    """All points of all kernels that take the workload, by estimate, and the refusals of the others.

    Between equal estimates the order of `kernels` decides.
    """
    found: list[Candidate] = []
    refusals: list[tuple[str, str]] = []
    for kernel in kernels:
        space = kernel.match(workload, machine)
        if isinstance(space, Refusal):
            refusals.append((kernel.name, space.reason))
        else:
            found += [Candidate(kernel, space, point, space.estimate(point)) for point in dict.fromkeys(space.points())]
    return sorted(found, key=lambda candidate: candidate.estimate), refusals
