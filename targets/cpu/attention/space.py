"""The blockings of an attention, and the time each is expected to take."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from dsc.lower.nominal import batch, nominal
from dsc.targets.cpu.attention.code import Blocking, write
from dsc.targets.cpu.attention.problem import Problem
from dsc.targets.cpu.machine import Cpu
from dsc.targets.cpu.tile import most_rows
from dsc.targets.kernel import Implementation

EXP_OPERATIONS = 14
"""Vector operations for the exponential, its sum, load and store."""
TRANSPOSE_CYCLES = 1.0
"""For one element of the queries."""
TILE_CYCLES = 30
STORE_CYCLES = 2
"""For one vector of a tile: clearing, scale and mask, store."""
FAR = 1.3
"""Cost of scores that do not stay in L2."""


@dataclass(frozen=True, eq=False)
class AttentionSpace:
    """Blocks of queries and the register tiles of the two products."""

    problem: Problem
    machine: Cpu

    def points(self) -> Sequence[Blocking]:
        """All blockings whose tiles fit the registers."""
        return list(self._blockings())

    def _blockings(self) -> Iterator[Blocking]:
        lengths = (*self.problem.batch, self.problem.queries, self.problem.keys)
        known = all(isinstance(size, int) for size in lengths)
        width = math.ceil(self.problem.width / self.machine.lanes())
        # where heads lie side by side, rows of keys fall into the same sets of L1
        most = self.machine.l1_ways
        for lanes, vectors in self._columns():
            for queries in range(1, min(most, lanes * vectors) + 1):
                if lanes * vectors % queries == 0 and self._rows(queries) >= 1:
                    groups = math.ceil(width / self._rows(queries))
                    blocking = Blocking(
                        lanes, vectors, min(most, self._rows(vectors)), queries, math.ceil(width / groups)
                    )
                    yield blocking
                    if known:
                        yield replace(blocking, parallel=False)

    def _rows(self, vectors: int) -> int:
        """Rows of that many vectors that fit the registers, along with one row of operands and one to spare."""
        return most_rows(self.machine.multiply_add(self.machine.lanes()), vectors, self.machine.vector_registers - 1)

    def _columns(self) -> Iterator[tuple[int, int]]:
        """Lanes and vectors of a block: narrow vectors only for few queries."""
        rows = nominal(self.problem.queries)
        widest = self.machine.lanes()
        if isinstance(self.problem.queries, int) and rows <= widest // 2:
            yield max(2, 1 << (rows - 1).bit_length()), 1
            return
        for vectors in range(1, min(6, math.ceil(rows / widest)) + 1):
            yield widest, vectors

    def estimate(self, point: Blocking) -> float:
        """Seconds: both products and the exponentials of all blocks, shared by the cores."""
        problem, machine = self.problem, self.machine
        blocks = math.ceil(nominal(problem.queries) / point.rows)
        tasks = batch(problem.batch) * blocks
        threads = min(tasks, machine.cores) if point.parallel else 1
        seconds = math.ceil(tasks / threads) * self._task_cycles(point) / machine.frequency
        return seconds + (machine.launch_seconds if point.parallel and tasks > 1 else 0.0)

    def _task_cycles(self, point: Blocking) -> float:
        problem = self.problem
        keys = nominal(problem.keys)
        score = self._tile_cycles(point.keys, point.vectors, point.lanes, problem.depth, near=True)
        groups = math.ceil(math.ceil(problem.width / self.machine.lanes()) / point.widths)
        near = 4 * keys * problem.width <= self.machine.l1_bytes // 2
        weigh = self._tile_cycles(point.queries, point.widths, self.machine.lanes(), keys, near)
        rate = self.machine.multiply_add(point.lanes).rate
        spilled = 4 * point.rows * (keys + problem.depth) > self.machine.l2_bytes / 2
        return (FAR if spilled else 1.0) * (
            TRANSPOSE_CYCLES * point.rows * problem.depth
            + math.ceil(keys / point.keys) * score
            + keys * point.vectors * EXP_OPERATIONS / rate
            + point.rows // point.queries * groups * weigh
        )

    def _tile_cycles(self, rows: int, vectors: int, lanes: int, steps: int, near: bool) -> float:
        """A register tile of `steps` updates; its vectors come from L1 if they are `near`, else from L2."""
        bits, instruction = 32 * lanes, self.machine.multiply_add(lanes)
        multiply = rows * vectors / instruction.rate
        load = vectors * bits / self.machine.load_bits + rows / self.machine.broadcasts
        if not near:
            load += vectors * bits / 8 * self.machine.frequency / self.machine.l2_bandwidth
        overhead = TILE_CYCLES + STORE_CYCLES * rows * vectors
        return steps * max(multiply, load, instruction.latency) + overhead

    def build(self, point: Blocking) -> Implementation:
        """The code."""
        return Implementation(write(self.problem, point, self.machine))
