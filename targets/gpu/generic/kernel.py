"""The kernel that takes anything: whatever has a lowering gets launches for it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from tvm import te, tirx

from dsc.lower.nominal import volume
from dsc.lower.te import lowered, prim_func, unscheduled
from dsc.lower.workload import Workload
from dsc.targets.gpu.estimate import Launch, resident_blocks, seconds
from dsc.targets.gpu.generic.code import write
from dsc.targets.gpu.generic.cost import Traffic, launch_of, traffic
from dsc.targets.gpu.generic.packing import Body, body_of
from dsc.targets.gpu.generic.plan import Plan, plan
from dsc.targets.gpu.generic.shares import THREADS, Shares, candidates
from dsc.targets.gpu.generic.threaded import threaded
from dsc.targets.gpu.machine import Gpu
from dsc.targets.kernel import Implementation, Refusal

SERIAL_CYCLES = 400
"""Of one thread for an element, where the whole of a stage is its: it waits for memory each time."""
USED = 0.85
"""Of the share that is used of what is fetched, at best: ways to share rows that use less are left out. They may be
quick by themselves, as more threads are busy, at the cost of whatever else wants memory."""
QUICKER = 2.0
"""Times as quick that a way has to be by estimate which uses less: lanes that exchange their parts of a window of a few
pixels use all that they fetch, and take three times as long as one that has a vector of channels by itself."""


@dataclass(frozen=True)
class Launches:
    """A point: how the threads of each launch share its rows."""

    shares: tuple[Shares, ...]


@dataclass(frozen=True, eq=False)
class PlannedSpace:
    """Launches that compute a body, each with its shares."""

    scalars: tuple[tirx.Var, ...]
    """Parameters beside tensors."""
    body: Body
    plan: Plan
    machine: Gpu

    def points(self) -> tuple[Launches, ...]:
        """All shares of a single launch that are worth considering; of several, what is best for each."""
        found = [
            self._whole(i, list(candidates(rows, self._memory, self.machine)))
            for i, rows in enumerate(self.plan.launches)
        ]
        if len(found) == 1:
            return tuple(Launches((shares,)) for shares in found[0])
        return (Launches(tuple(self._best(i, shares) for i, shares in enumerate(found))),)

    def estimate(self, point: Launches) -> float:
        """Seconds of all launches, one after the other."""
        return sum(self._seconds(i, shares) for i, shares in enumerate(point.shares))

    def sectors(self, point: Launches) -> float:
        """Pieces of memory that all launches touch, as the simulator counts them."""
        found = [self._traffic(i, shares) for i, shares in enumerate(point.shares)]
        return sum(each.loaded + each.stored for each in found)

    def build(self, point: Launches) -> Implementation:
        """The code."""
        body = self.body
        func = write(body.inputs, self.scalars, body.outputs, self.plan, point.shares, self.machine)
        return Implementation(func, body.packings)

    def _whole(self, launch: int, found: Sequence[Shares]) -> list[Shares]:
        """Those that use what they fetch, or most of those that do best; and what is much quicker than these."""
        most = max(self._traffic(launch, shares).share for shares in found)
        used = [shares for shares in found if self._traffic(launch, shares).share >= USED * most]
        quick = self._seconds(launch, self._best(launch, used)) / QUICKER
        return [shares for shares in found if shares in used or self._seconds(launch, shares) < quick]

    def _best(self, launch: int, found: Sequence[Shares]) -> Shares:
        return min(found, key=lambda shares: self._seconds(launch, shares))

    def _seconds(self, launch: int, shares: Shares) -> float:
        """Of a launch. What its last blocks exchange is not hidden behind anything."""
        machine, found = self.machine, self._traffic(launch, shares)
        made = launch_of(self.plan.launches[launch], shares, found, machine)
        rounds = math.ceil(made.blocks / (machine.cores * resident_blocks(machine, made)))
        return seconds(machine, made) + rounds * found.exchange_cycles / machine.frequency

    def _traffic(self, launch: int, shares: Shares) -> Traffic:
        """What one launch does; counted once."""
        key = launch, shares
        if key not in self._counted:
            self._counted[key] = traffic(self.machine, self.plan.launches[launch], self._memory, shares)
        return self._counted[key]

    @cached_property
    def _counted(self) -> dict[tuple[int, Shares], Traffic]:
        return {}

    @cached_property
    def _memory(self) -> list[te.Tensor]:
        """What launches read."""
        return [*self.body.inputs, *self.plan.stored]


@dataclass(frozen=True)
class Stages:
    """The one point: a thread for each element of each stage."""


@dataclass(frozen=True, eq=False)
class StagesSpace:
    """Each stage by itself: for workloads with stages that are no expressions, as a scatter is."""

    workload: Workload
    machine: Gpu

    def points(self) -> tuple[Stages]:
        """One."""
        return (Stages(),)

    def estimate(self, point: Stages) -> float:
        """As if the largest result was made by one thread."""
        elements = max(volume(output.shape) for output in lowered(self.workload).outputs)
        return seconds(self.machine, Launch(1, THREADS, SERIAL_CYCLES * elements, 0.0))

    def build(self, point: Stages) -> Implementation:
        """The code."""
        body = lowered(self.workload)
        return Implementation(threaded(prim_func(self.workload, body.inputs, body.outputs), self.machine))


def plain(
    inputs: Sequence[te.Tensor], scalars: Sequence[tirx.Var], outputs: Sequence[te.Tensor], machine: Gpu
) -> tirx.PrimFunc:
    """The function of `inputs`, `scalars` and `outputs` of what is no workload: shared out as is best by estimate."""
    found = plan(inputs, outputs)
    if isinstance(found, Refusal):
        return threaded(unscheduled(inputs, scalars, outputs), machine)
    space = PlannedSpace(tuple(scalars), Body(tuple(inputs), tuple(outputs), {}), found, machine)
    return space.build(min(space.points(), key=space.estimate)).func


@dataclass(frozen=True)
class Generic:
    """Takes any workload."""

    name: str = "gpu.generic"

    def match(self, workload: Workload, machine: Gpu) -> PlannedSpace | StagesSpace:
        """Always a space; raises `UnsupportedOpError` where an op has no lowering."""
        body = body_of(workload)
        found = plan(body.inputs, body.outputs)
        if isinstance(found, Refusal):
            return StagesSpace(workload, machine)
        return PlannedSpace(tuple(workload.scalars), body, found, machine)
