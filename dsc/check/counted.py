"""What kernels are expected to take on a device by what the simulator counted of them: an estimate, never a time."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dsc.codegen.selection import Choice
from dsc.lower.demand import Demand
from dsc.simulator import Counters
from dsc.targets.gpu.machine import Gpu

_LAUNCH = re.compile(r"_kernel(?:_\d+)?$")
"""What TVM appends to the name of a function for each of its launches."""

SECTOR_BYTES = 32
"""As `Counters.global_sectors` counts them."""


@dataclass(frozen=True)
class CountedCall:
    """Seconds of one call of a function, on average: each is what that takes where nothing else does."""

    function: str
    l2_seconds: float
    """Of all sectors that were asked for, at the bandwidth of the L2 cache."""
    memory_seconds: float
    """Of all bytes at least, from where they are; 0 where sizes were not known when it was compiled."""
    shared_seconds: float
    """Of all passes through the banks, one a cycle on each multiprocessor, conflicts included."""
    multiply_seconds: float
    """Of multiply-adds: those on matrix units at their rate, the others at that of float32."""
    launch_seconds: float
    roofline: float | None

    @property
    def seconds(self) -> float:
        """The longest of what goes on at once, and the launches."""
        return (
            max(self.l2_seconds, self.memory_seconds, self.shared_seconds, self.multiply_seconds) + self.launch_seconds
        )

    @property
    def share(self) -> float | None:
        """Of the roofline."""
        return None if self.roofline is None else self.roofline / self.seconds


def counted_calls(machine: Gpu, choices: Sequence[Choice], counters: Mapping[str, Counters]) -> list[CountedCall]:
    """The functions of a model that were called, by what all their launches did; what has no choice is left out."""
    launches: dict[str, list[Counters]] = defaultdict(list)
    for kernel, counted in counters.items():
        launches[_LAUNCH.sub("", kernel)].append(counted)
    return [
        _call(machine, choice, launches[choice.function]) for choice in choices if choice.function in launches
    ]  # fmt: skip


def _call(machine: Gpu, choice: Choice, launches: Sequence[Counters]) -> CountedCall:
    calls = max(counted.launches for counted in launches)
    sectors = sum(counted.global_sectors for counted in launches) / calls
    waiting = max(_longest(machine, counted) for counted in launches)
    passes = sum(counted.shared_wavefronts for counted in launches) / calls
    on_matrix = sum(counted.matrix_macs for counted in launches) / calls
    return CountedCall(
        choice.function,
        l2_seconds=sectors * SECTOR_BYTES / machine.l2_bandwidth,
        memory_seconds=0.0 if choice.bound is None else choice.bound.memory_seconds,
        shared_seconds=passes * waiting / (machine.cores * machine.frequency),
        multiply_seconds=_multiply_seconds(machine, choice.demand, on_matrix) * waiting,
        launch_seconds=sum(counted.launches for counted in launches) / calls * machine.launch_seconds,
        roofline=None if choice.bound is None else choice.bound.seconds,
    )


def _longest(machine: Gpu, counted: Counters) -> float:
    """How much longer the multiprocessor with the most blocks works than all do on average."""
    blocks = counted.blocks / counted.launches
    return math.ceil(blocks / machine.cores) * machine.cores / blocks


def _multiply_seconds(machine: Gpu, demand: Demand | None, on_matrix: float) -> float:
    """Of a call whose matrix units did so many multiply-adds; the rest of the demand is done by other units."""
    rest = max(0.0, (0 if demand is None else demand.multiply_adds) - on_matrix)
    element = "float32" if demand is None else demand.element
    units = [row.operations * row.rate for row in machine.instructions if row.m > 1 and row.a == element]
    units = units or [row.operations * row.rate for row in machine.instructions if row.m > 1]
    per_second = machine.cores * machine.frequency / 2
    others = max(row.operations * row.rate for row in machine.instructions if row.m == 1 and row.a == "float32")
    return (on_matrix / max(units) if on_matrix else 0.0) / per_second + rest / others / per_second
