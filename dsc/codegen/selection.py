"""Which kernel computes a workload: every kernel of the target is asked, the candidates are ranked."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias, runtime_checkable

from dsc.lower.demand import Demand
from dsc.lower.workload import Workload
from dsc.targets.bound import Bound
from dsc.targets.family import AnyTarget
from dsc.targets.kernel import Implementation, Kernel, Point, Refusal, Space, skips_zeros
from dsc.targets.resources import KernelResources

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Candidate:
    """One way to compute a workload: a point of a kernel's design space."""

    kernel: Kernel[Any]
    space: Space
    point: Point
    estimate: float
    """Seconds, by the kernel's own model."""

    def build(self) -> Implementation:
        """The scheduled code."""
        return self.space.build(self.point)


Chooser: TypeAlias = Callable[[Workload, Sequence[Candidate]], Candidate]
"""Takes one of the candidates, which are sorted by estimate, fastest first."""


@runtime_checkable
class Measuring(Protocol):
    """A chooser that knows how long candidates take."""

    def times(self, workload: Workload, candidates: Sequence[Candidate]) -> list[float | None]:
        """Seconds of each; None for one that was not measured."""
        ...


@dataclass(frozen=True)
class Rival:
    """How a kernel did among the candidates for a workload."""

    kernel: str
    skips_zeros: bool
    """Whether it does not multiply by the zeros of a weight."""
    estimate: float | None
    """Seconds of its best point, by its own model; None where it has none."""
    measured: float | None = None
    """Seconds of the fastest of its points that were measured."""
    refusal: str = ""
    """Why it has no point. Recorded of kernels that skip zeros; `Choice.refusals` has all."""


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
    rivals: tuple[Rival, ...] = ()
    """The kernels it was chosen among, and those that would skip zeros but could not."""
    failures: tuple[tuple[str, str], ...] = ()
    """(kernel, error) for each that should have computed it and failed."""
    spilled: tuple[tuple[str, int], ...] = ()
    """Kernel and point of each that would have been taken but for registers that it keeps in memory, and how many
    bytes."""
    calls: int = 0
    """How often a run of the model calls it."""
    demand: Demand | None = None
    """What any kernel has to do; None where sizes are known at run time only."""
    bound: Bound | None = None
    """The least time for that."""
    resources: tuple[KernelResources, ...] = ()
    """What its launches take of the device, where that is known."""


def fastest_by_estimate(_: Workload, candidates: Sequence[Candidate]) -> Candidate:
    """The chooser of -O2."""
    return candidates[0]


@dataclass
class Failures:
    """Kernels that failed on a workload where they should not have: others are taken, and the report says so."""

    _errors: dict[tuple[str, str], Exception] = field(default_factory=dict)

    def add(self, workload: str, kernel: str, error: Exception) -> None:
        """Note that a kernel failed on the workload of a key, and warn."""
        self._errors[workload, kernel] = error
        _LOG.warning("kernel %s failed, another is taken: %s", kernel, _in_short(error))

    def of(self, workload: str) -> dict[str, str]:
        """The kernels that failed on a workload, and why."""
        return {kernel: _in_short(error) for (key, kernel), error in self._errors.items() if key == workload}

    def first(self, workload: str) -> Exception:
        """What went wrong first on a workload, for where no kernel is left."""
        return next(error for (key, _), error in self._errors.items() if key == workload)


@dataclass(frozen=True)
class Selected:
    """A candidate that could be built, and the code."""

    candidate: Candidate
    implementation: Implementation
    refusals: list[tuple[str, str]]
    candidates: int
    """How many there were to choose from."""
    rivals: tuple[Rival, ...]
    """The kernels it was chosen among, and those that would skip zeros but could not."""


def select(workload: Workload, target: AnyTarget, chooser: Chooser, failures: Failures) -> Selected:
    """The candidate that `chooser` takes, built; where that fails, its kernel is out and the chooser is asked again.

    Raises what the first kernel failed with where none is left.
    """
    key = workload.key()
    found, refusals = candidates(workload, target, failures)
    while left := [candidate for candidate in found if candidate.kernel.name not in failures.of(key)]:
        chosen = chooser(workload, left)
        try:
            implementation = chosen.build()
        except Exception as error:  # whatever it is, the next kernel may do without
            failures.add(key, chosen.kernel.name, error)
            continue
        rivals = _rivals(workload, target, left, chooser, refusals)
        return Selected(chosen, implementation, refusals, len(left), rivals)
    raise failures.first(key)


def candidates(
    workload: Workload, target: AnyTarget, failures: Failures
) -> tuple[list[Candidate], list[tuple[str, str]]]:
    """All points of all kernels that take the workload, by estimate, and the refusals of the others.

    Between equal estimates the order of the target's kernels decides. A kernel that fails is noted in `failures`.
    """
    found: list[Candidate] = []
    refusals: list[tuple[str, str]] = []
    for kernel in target.kernels():
        try:
            space = kernel.match(workload, target.machine)
            if isinstance(space, Refusal):
                refusals.append((kernel.name, space.reason))
                continue
            points = dict.fromkeys(space.points())
            found += [Candidate(kernel, space, point, space.estimate(point)) for point in points]
        except Exception as error:
            failures.add(workload.key(), kernel.name, error)
    return sorted(found, key=lambda candidate: candidate.estimate), refusals


def _rivals(
    workload: Workload,
    target: AnyTarget,
    found: Sequence[Candidate],
    chooser: Chooser,
    refusals: Sequence[tuple[str, str]],
) -> tuple[Rival, ...]:
    """What each kernel has to offer, the best by estimate first, and why those that skip zeros have nothing."""
    times = chooser.times(workload, found) if isinstance(chooser, Measuring) else [None] * len(found)
    best: dict[str, Candidate] = {}
    measured: dict[str, float] = {}
    for candidate, seconds in zip(found, times, strict=True):
        name = candidate.kernel.name
        best.setdefault(name, candidate)
        if seconds is not None:
            measured[name] = min(seconds, measured.get(name, seconds))
    rivals = [Rival(name, skips_zeros(c.kernel), c.estimate, measured.get(name)) for name, c in best.items()]
    skipping = {kernel.name for kernel in target.kernels() if skips_zeros(kernel)}
    refused = [Rival(name, True, None, refusal=reason) for name, reason in refusals if name in skipping]
    return (*rivals, *refused)


def _in_short(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[-1].strip()[:300]}"
