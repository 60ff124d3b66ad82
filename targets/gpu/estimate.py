"""How long a launch takes on a GPU, by its numbers: a roofline of arithmetic, loads and memory, with occupancy."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

from dsc.targets.gpu.machine import Gpu
from dsc.targets.machine import MultiplyAdd

MEMORY_SECONDS = 5e-7
"""From a load's start to its data, from memory: 400 to 600 ns on all of these (Jia et al., 2018, and later ones)."""
L2_SECONDS = 2e-7
"""The same from L2: 200 cycles on V100 and A100 (Jia et al., 2018), 220 to 300 on CDNA, at their clocks."""
IN_FLIGHT_BYTES = 16
"""That a thread has asked for at once and not received, where a kernel does not say."""


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
    l2_bytes: float = 0.0
    """Read beyond the multiprocessors, each time they are; `bytes` at least."""
    registers: int = 40
    """Of a thread."""
    shared_bytes: int = 0
    """Of a block."""
    in_flight_bytes: float = IN_FLIGHT_BYTES
    """That a thread asks for before it waits."""
    waits: float = 0.0
    """Times that a thread waits for what it has asked for, one after the other."""


def resident_blocks(machine: Gpu, launch: Launch) -> int:
    """Blocks that a multiprocessor holds at once; 0 where one is too large."""
    limits = [
        machine.resident_blocks,
        machine.resident_threads // launch.threads,
        machine.registers // (launch.registers * launch.threads),
    ]
    if launch.shared_bytes:
        limits.append(machine.shared_bytes_total // (launch.shared_bytes + machine.shared_bytes_reserved))
    return min(limits)


def seconds(machine: Gpu, launch: Launch) -> float:
    """The longer of computing and moving, and the launch; infinite where a block does not fit.

    Blocks are shared out evenly, so that the last of them may keep few multiprocessors busy; too few threads keep
    neither memory nor L2 busy, and none is done before all that it waits for has come, whatever others do meanwhile.
    """
    resident = resident_blocks(machine, launch)
    if resident == 0:
        return math.inf
    longest = math.ceil(launch.blocks / machine.cores)
    compute = launch.cycles * longest / launch.blocks / machine.frequency
    busy = min(launch.blocks, machine.cores * resident) * launch.threads * launch.in_flight_bytes
    bandwidth = min(machine.bandwidth(launch.bytes, machine.cores), busy / MEMORY_SECONDS)
    from_l2 = launch.l2_bytes / min(machine.l2_bandwidth, busy / L2_SECONDS)
    waiting = launch.waits * L2_SECONDS
    return max(compute, launch.bytes / bandwidth, from_l2, waiting) + machine.launch_seconds


STEP_CYCLES = 450
"""From the loads of a step to their data in shared memory, for one block: a read from L2, a write. Several blocks, and
steps that are on their way ahead of it, hide it of one another."""
MEETING_CYCLES = 110
"""Of a step, in which threads meet and begin again."""
SHARED_BYTES_PER_CYCLE = 128
"""That a multiprocessor reads from shared memory."""
IN_TURN = 0.62
"""Of the times of multiplying and of reading shared memory one after the other, that both together take at least: one
waits for the other. This and the next two are as measured on an H100."""
START_CYCLES = 1.35
"""In which a scheduler starts an instruction that brings operands to shared memory."""
STORING = 4.0
"""Times the cycles in which sums go through shared memory, that they take until they are stored. Straight from
registers they save that passage, so one of these: the rest, as what L2 takes to be written to, is as it was. No GPU has
run that."""


SHARED_REUSE = 2
"""Threads of a warp that get the same element of shared memory by one read, about: those of a row of the tile share
operands, and so do those of a column."""


class Tile(Protocol):
    """What a block computes by steps, from shared memory."""

    @property
    def threads(self) -> int: ...
    @property
    def rows(self) -> int: ...
    @property
    def columns(self) -> int: ...
    @property
    def depth(self) -> int: ...
    @property
    def slices(self) -> int:
        """Parts of a step's depth that threads multiply, each for itself."""

    @property
    def thread_rows(self) -> int: ...
    @property
    def thread_columns(self) -> int: ...
    @property
    def shared_bytes(self) -> int: ...
    @property
    def registers(self) -> int: ...


@dataclass(frozen=True)
class BlockStep:
    """What a block does for a step of a product's depth, all its threads together."""

    threads: int
    registers: int
    """Of a thread."""
    shared_bytes: int
    """That the block has."""
    products: int
    """Multiply-adds."""
    shared_traffic: float
    """Bytes that are read from and written to shared memory."""
    instructions: float
    """Of warps, that bring operands to shared memory."""
    ahead: int = 1
    """Steps whose operands are on their way while one is multiplied."""
    stored_traffic: float = 0.0
    """Bytes that go through shared memory once all steps are done: the sums, on their way to those who store them."""
    is_direct: bool = False
    """Whether they do not go there after all, but straight to memory."""
    is_seamless: bool = False
    """Whether threads have in registers what they multiply while they meet."""
    is_behind: bool = False
    """Whether instructions multiply what they read in shared memory themselves, while threads bring what comes next."""


SCHEDULERS = 4
"""Parts of a multiprocessor that each start an instruction of a warp per cycle, with a quarter of all units that
compute: schedulers, or vector units. A warp belongs to one."""


def steps_seconds(
    machine: Gpu, step: BlockStep, instruction: MultiplyAdd, blocks: int, steps: int, moved: float, through_l2: float
) -> float:
    """Seconds of `blocks` tiles of a product, of so many steps each.

    moved: bytes read from and written to memory; through_l2: those that blocks load, each time they do.
    """
    launch = Launch(
        blocks, step.threads, cycles=0.0, bytes=moved, registers=step.registers, shared_bytes=step.shared_bytes
    )
    resident = resident_blocks(machine, launch)
    if resident == 0:
        return math.inf
    together = min(resident, math.ceil(blocks / machine.cores))
    parts = min(1.0, together * step.threads / (machine.warp * SCHEDULERS))
    at_once = instruction.m * instruction.n * instruction.k * instruction.rate
    multiplying, reading = step.products / (at_once * parts), step.shared_traffic / SHARED_BYTES_PER_CYCLE
    loading = START_CYCLES * step.instructions / (SCHEDULERS * parts)
    if step.is_behind:
        busy = max(multiplying, reading, loading)
    else:
        busy = max(multiplying, reading, IN_TURN * (multiplying + reading)) + loading
    waiting = 0.0 if step.is_seamless else MEETING_CYCLES + STEP_CYCLES / (step.ahead * together)
    rounds = math.ceil(blocks / (machine.cores * together))
    stored = (STORING - step.is_direct) * together * step.stored_traffic / SHARED_BYTES_PER_CYCLE
    cycles = rounds * (steps * (together * busy + waiting) + STEP_CYCLES + stored)
    move = max(moved / machine.bandwidth(moved, machine.cores), through_l2 / machine.l2_bandwidth)
    return max(cycles / machine.frequency, move) + machine.launch_seconds


def tiled_seconds(
    machine: Gpu, tile: Tile, instruction: MultiplyAdd, blocks: int, depth: int, moved: float, through_l2: float
) -> float:
    """Seconds of `blocks` tiles of a product of that depth.

    moved: bytes read from and written to memory; through_l2: those that blocks load, each time they do.
    """
    reads = 4 * tile.threads * (tile.thread_rows + tile.thread_columns) * tile.depth / tile.slices / SHARED_REUSE
    copies = 2 * (tile.rows + tile.columns) * tile.depth / machine.warp
    step = BlockStep(
        tile.threads,
        tile.registers,
        tile.shared_bytes,
        products=tile.rows * tile.columns * tile.depth,
        shared_traffic=reads + copies * SHARED_BYTES_PER_CYCLE,
        instructions=0,
    )
    return steps_seconds(machine, step, instruction, blocks, math.ceil(depth / tile.depth), moved, through_l2)
