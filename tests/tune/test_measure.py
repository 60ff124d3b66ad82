"""How candidates are timed, by a clock that only kernels, launches and waits move."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest
import tvm

from dsc.runtime.devices import Device, SeparateMemory
from dsc.runtime.devices.cpu import Cpu
from dsc.targets import target
from dsc.targets.gpu.generic.kernel import Generic
from dsc.tune import measure
from tests.targets.cuda.simulated import best, machine
from tests.targets.regions import Region

LAUNCH, WAIT = 2e-6, 8e-6


@dataclass
class Clock:
    """Seconds, and until when the device has work."""

    kernel: float
    now: float = 0.0
    busy: float = 0.0
    given: list[tuple[object, ...]] = field(default_factory=list)
    """The arguments of each launch."""
    queued: list[int] = field(default_factory=list)
    """Launches before each wait."""

    def launch(self, *arguments: object) -> None:
        """Work for the device, which begins when it has done the rest."""
        self.given.append(arguments)
        self.now += LAUNCH
        self.busy = max(self.busy, self.now) + self.kernel

    def wait(self) -> None:
        """Until the device has none."""
        self.queued.append(len(self.given) - sum(self.queued))
        self.now = max(self.now, self.busy) + WAIT


class Behind(SeparateMemory):
    """A device that computes behind the caller."""

    name = "behind"

    def __init__(self, clock: Clock) -> None:
        super().__init__(tvm.cpu())
        self._clock = clock

    def check(self, facts: object, target: str, source: str) -> None:
        """Any code is right."""

    def synchronize(self) -> None:
        self._clock.wait()


@dataclass(frozen=True)
class Waiting(Cpu):
    """A device whose kernels are done when a launch returns; `moved` moves its clock."""

    moved: Callable[[], None] = lambda: None

    def synchronize(self) -> None:
        self.moved()


def measured(clock: Clock, device: Device, text: str, monkeypatch: pytest.MonkeyPatch, zeros: float = 0.0) -> float:
    """Seconds of a run of a region for a GPU, by that clock."""
    measuring = sys.modules[measure.__module__]
    monkeypatch.setattr(measuring, "load_kernel", lambda *_: clock.launch)
    monkeypatch.setattr(measuring.time, "perf_counter", lambda: clock.now)
    workload = dataclasses.replace(Region(text).workload(), expected_zeros=zeros)
    space = Generic().match(workload, machine())
    (point,) = best(space)
    return measure(space.build(point), target("cuda:sm_80"), device, seconds=0.01, workload=workload)


SMALL = "(float[3,5] x) => (float[3,5] y) { y = Tanh(x) }"
LARGE = "(float[1000,1500] x) => (float[1000,1500] y) { y = Tanh(x) }"
"""12 MB, of which four are more than the 40 MB of the cache."""


@pytest.mark.parametrize("kernel", [3e-6, 5e-5, 5e-3])
def test_waits_are_shared_by_launches_that_are_queued(kernel: float, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(kernel)
    assert measured(clock, Behind(clock), SMALL, monkeypatch) == pytest.approx(kernel, rel=0.06)
    assert max(clock.queued) == (1 if kernel > 1e-3 else pytest.approx(1e-3 / (kernel + LAUNCH + WAIT), abs=1))


def test_a_kernel_that_is_done_when_it_returns_is_timed_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(3e-6)
    assert measured(clock, Waiting(moved=clock.wait), SMALL, monkeypatch) == pytest.approx(3e-6 + LAUNCH + WAIT)
    assert set(clock.queued) == {1}


@pytest.mark.parametrize(("text", "sets"), [(SMALL, 77), (LARGE, 4)])
def test_tensors_come_from_memory_where_no_cache_has_all(text: str, sets: int, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(3e-6)
    measured(clock, Behind(clock), text, monkeypatch)
    addresses = [
        tuple(each.data_ptr() for each in given if isinstance(each, tvm.runtime.Tensor)) for given in clock.given
    ]
    assert len(set(addresses)) == sets
    assert len({address for both in addresses for address in both}) == 2 * sets
    last = addresses[-clock.queued[-1] :]
    assert len(set(last[:sets])) == sets  # no set comes again before the others


@pytest.mark.parametrize("zeros", [0.0, 0.7])
def test_as_many_floats_are_zero_as_are_asked_for(zeros: float, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(3e-6)
    measured(clock, Waiting(moved=clock.wait), LARGE, monkeypatch, zeros)
    x, *_ = clock.given[0]
    assert isinstance(x, tvm.runtime.Tensor)
    assert np.mean(x.numpy() == 0) == pytest.approx(zeros, abs=0.01)
