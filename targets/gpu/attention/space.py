"""The blockings of an attention, and the time each is expected to take."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from dsc.lower.nominal import batch, nominal, volume
from dsc.targets.cpu.attention.problem import Problem
from dsc.targets.gpu.attention.blocking import BLOCKINGS, Blocking
from dsc.targets.gpu.attention.code import write
from dsc.targets.gpu.estimate import (
    SCHEDULERS,
    SHARED_BYTES_PER_CYCLE,
    SHARED_REUSE,
    STEP_CYCLES,
    Launch,
    resident_blocks,
)
from dsc.targets.gpu.machine import Gpu
from dsc.targets.kernel import Implementation
from dsc.targets.machine import MultiplyAdd

EFFICIENCY = 0.72
"""Of the rate of multiplying that the loops reach: an H100 takes longer than by 0.9, of which the rest is waiting."""
EXP_CYCLES = 24
"""Instructions for the exponential of a score, its mask and its sum."""


@dataclass(frozen=True, eq=False)
class AttentionSpace:
    """Queries and keys of a block."""

    problem: Problem
    machine: Gpu
    instruction: MultiplyAdd

    def points(self) -> Sequence[Blocking]:
        """All blockings that fit the memory which a block shares, and the registers of its threads."""
        depth, width = self.problem.depth, self.problem.width
        return [
            blocking
            for blocking in BLOCKINGS
            if blocking.shared_bytes(depth, width) <= self.machine.shared_bytes
            and blocking.registers(width) <= self.machine.registers_per_thread
        ]

    def estimate(self, point: Blocking) -> float:
        """Seconds: both products and the exponentials of all blocks, or reading keys and values for each."""
        problem, machine = self.problem, self.machine
        heads, queries, keys = batch(problem.batch), nominal(problem.queries), nominal(problem.keys)
        blocks = heads * math.ceil(queries / point.queries)
        tiles = math.ceil(keys / point.keys)
        shared = point.shared_bytes(problem.depth, problem.width)
        launch = Launch(blocks, point.threads, 0.0, 0.0, registers=point.registers(problem.width), shared_bytes=shared)
        resident = resident_blocks(machine, launch)
        if resident == 0:
            return math.inf
        together = min(resident, math.ceil(blocks / machine.cores))
        rounds = math.ceil(blocks / (machine.cores * together))
        cycles = rounds * (tiles * max(together * self._tile_cycles(point, together), 2 * STEP_CYCLES) + STEP_CYCLES)
        moved = 4.0 * sum(volume(tensor.shape) for tensor in (*problem.params, problem.output))
        loaded = 4.0 * blocks * keys * (problem.depth + problem.width)
        move = max(moved / machine.bandwidth(moved, machine.cores), loaded / machine.l2_bandwidth)
        return max(cycles / machine.frequency, move) + machine.launch_seconds

    def _tile_cycles(self, point: Blocking, together: int) -> float:
        """Of a multiprocessor, for one tile of keys of one block, of so many that it has at once: where these have few
        warps, parts of it have none."""
        problem, outputs = self.problem, point.outputs(self.problem.width)
        parts = min(1.0, together * point.threads / (self.machine.warp * SCHEDULERS))
        lanes = self.instruction.n * self.instruction.rate * parts
        products = point.queries * point.keys * (problem.depth + outputs * point.across)
        reads = (point.rows + point.columns) * problem.depth + (point.rows + outputs) * point.keys
        multiply = products / (lanes * EFFICIENCY)
        read = 4 * point.threads * reads / SHARED_REUSE / SHARED_BYTES_PER_CYCLE
        return max(multiply, read) + point.queries * point.keys * EXP_CYCLES / lanes

    def build(self, point: Blocking) -> Implementation:
        """The code."""
        return Implementation(write(self.problem, point, self.instruction, self.machine))
