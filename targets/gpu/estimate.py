"""How long a launch takes on a GPU, by its numbers: a roofline of arithmetic, loads and memory, with occupancy."""

from __future__ import annotations

import math
from dataclasses import dataclass

from dsc.targets.gpu.machine import Gpu

MEMORY_SECONDS = 5e-7
"""From a load's start to its data, from memory: 400 to 600 ns on all of these (Jia et al., 2018, and later ones)."""
IN_FLIGHT_BYTES = 16
"""That a thread has asked for at once and not received."""


@dataclass(frozen=True)
class Launch:
    """What the threads of a launch do; counts cover all of them."""

    blocks: int
    threads: int
    """In a block."""
    cycles: float
    """Of a multiprocessor, if one did it all with as many threads as it holds: the scarcest of its units."""
    bytes: float
    """Read from and written to memory."""
    registers: int = 40
    """Of a thread."""
    shared_bytes: int = 0
    """Of a block."""


def resident_blocks(machine: Gpu, launch: Launch) -> int:
    """Blocks that a multiprocessor holds at once; 0 where one is too large."""
    limits = [
        machine.resident_blocks,
        machine.resident_threads // launch.threads,
        machine.registers // (launch.registers * launch.threads),
    ]
    if launch.shared_bytes:
        limits.append(machine.shared_bytes_total // launch.shared_bytes)
    return min(limits)


def seconds(machine: Gpu, launch: Launch) -> float:
    """The longer of computing and moving, and the launch; infinite where a block does not fit.

    Blocks are shared out evenly, so that the last of them may keep few multiprocessors busy; too few threads do not
    keep memory busy.
    """
    resident = resident_blocks(machine, launch)
    if resident == 0:
        return math.inf
    longest = math.ceil(launch.blocks / machine.cores)
    compute = launch.cycles * longest / launch.blocks / machine.frequency
    busy = min(launch.blocks, machine.cores * resident) * launch.threads * IN_FLIGHT_BYTES
    bandwidth = min(machine.bandwidth(launch.bytes, machine.cores), busy / MEMORY_SECONDS)
    return max(compute, launch.bytes / bandwidth) + machine.launch_seconds
