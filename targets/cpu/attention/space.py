"""The blockings of an attention, and the time each is expected to take."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from dsc.lower.nominal import batch, nominal
from dsc.targets.cpu.attention.code import Blocking, Writer
from dsc.targets.cpu.attention.factors import in_fours, in_pairs, instruction_of, instructions_of
from dsc.targets.cpu.attention.fours import InFours
from dsc.targets.cpu.attention.masking import Masking
from dsc.targets.cpu.attention.pairs import InPairs
from dsc.targets.cpu.attention.problem import Problem
from dsc.targets.cpu.machine import Cpu
from dsc.targets.cpu.tile import most_rows
from dsc.targets.kernel import Implementation, Refusal
from dsc.targets.tir.loops import function

EXP_OPERATIONS = 14
"""Vector operations for the exponential, its sum, load and store."""
TRANSPOSE_CYCLES = 1.0
"""For one element of the queries."""
PAIR_OPERATIONS = 7
"""Vector operations that make a vector of pairs of two of float32: loads, rounding, a shift, a store."""
FOUR_OPERATIONS = 16
"""Those that make a vector of fours of four of bytes: loads, shifts, the sum, a store."""
TILE_CYCLES = 30
STORE_CYCLES = 2
"""For one vector of a tile: clearing, scale and mask, store."""
BLOCK = 32
"""Keys at least in a block that may be skipped: fewer would cost more to go through, more leave out less."""
LEAST_QUERIES = 16
"""Of a head, for keys to be skipped: to know that products cannot matter, queries, keys and values are read once."""
FAR = 1.3
"""Cost of scores that do not stay in L2."""
_OPERATIONS: dict[type[Writer], int] = {Writer: 0, InPairs: PAIR_OPERATIONS, InFours: FOUR_OPERATIONS}


@dataclass(frozen=True, eq=False)
class AttentionSpace:
    """Blocks of queries and the register tiles of the two products."""

    problem: Problem
    machine: Cpu
    masking: Masking | Refusal
    """What is known of its mask, or why no keys are skipped."""

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
            if self.problem.chosen is not None and self.problem.chosen.size % (lanes * vectors):
                continue
            for queries in range(1, min(most, lanes * vectors) + 1):
                if lanes * vectors % queries == 0 and self._rows(queries) >= 1:
                    groups = math.ceil(width / self._rows(queries))
                    keys = self._tile(min(most, self._rows(vectors)))
                    skipped = self._skipped(keys)
                    blocking = Blocking(lanes, vectors, keys, queries, math.ceil(width / groups), skipped=skipped)
                    yield blocking
                    if known:
                        yield replace(blocking, parallel=False)

    def _tile(self, most: int) -> int:
        """Rows of a tile of the first product, at most so many: those that divide the blocks that are chosen."""
        chosen = self.problem.chosen
        return most if chosen is None else max(size for size in range(1, most + 1) if chosen.size % size == 0)

    def _skipped(self, keys: int) -> int:
        """Keys in blocks that may be skipped; 0 where that does not pay, or cannot be.

        No alternative that an estimate or a measurement chooses: both know nothing of what masks will remove.
        """
        several = keys * self._kind.together
        size = several * math.ceil(BLOCK / several)
        few = nominal(self.problem.queries) < LEAST_QUERIES or nominal(self.problem.keys) <= size
        return 0 if few or isinstance(self.masking, Refusal) else size

    def _rows(self, vectors: int) -> int:
        """Rows of that many vectors that fit the registers, along with one row of operands and one to spare."""
        instruction = instruction_of(self.problem, self.machine, self.machine.lanes())
        return most_rows(instruction, vectors, self.machine.vector_registers - 1)

    def _columns(self) -> Iterator[tuple[int, int]]:
        """Lanes and vectors of a block: narrow vectors only for few queries."""
        rows = nominal(self.problem.queries)
        widest = self.machine.lanes()
        if isinstance(self.problem.queries, int) and rows <= widest // 2:
            rows_of = instructions_of(self.problem, self.machine)
            least = 2 if self._kind is Writer else min(row.n for row in rows_of)
            yield max(least, 1 << (rows - 1).bit_length()), 1
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
        keys = self._near(point)
        together = self._kind.together
        depth = math.ceil(problem.depth / together)
        score = self._tile_cycles(point.keys, point.vectors, point.lanes, depth, near=True)
        groups = math.ceil(math.ceil(problem.width / self.machine.lanes()) / point.widths)
        near = 4 * keys * problem.width // together <= self.machine.l1_bytes // 2
        weigh = self._tile_cycles(point.queries, point.widths, self.machine.lanes(), math.ceil(keys / together), near)
        rate = self.machine.multiply_add(point.lanes).rate
        spilled = 4 * point.rows * (keys + problem.depth) > self.machine.l2_bytes / 2
        return (FAR if spilled else 1.0) * (
            TRANSPOSE_CYCLES * point.rows * problem.depth
            + math.ceil(keys / point.keys) * score
            + keys * point.vectors * EXP_OPERATIONS / rate
            + self._rounding(point) / rate
            + point.rows // point.queries * groups * weigh
        )

    def _near(self, point: Blocking) -> int:
        """The keys of a task: all, or those of its window and what else is in their blocks; of these, the chosen."""
        keys, window, chosen = nominal(self.problem.keys), self.problem.window, self.problem.chosen
        if window is not None:
            keys = min(keys, point.rows + 2 * window + max(point.skipped, point.keys * self._kind.together))
        return keys if chosen is None else min(keys, math.ceil(chosen.share * keys / chosen.size) * chosen.size)

    def _rounding(self, point: Blocking) -> float:
        """Vector operations that make pairs or fours of keys, values and weights."""
        keys, lanes = self._near(point), self.machine.lanes()
        vectors = point.vectors + (self.problem.width + self.problem.depth) / lanes
        return _OPERATIONS[self._kind] * keys / self._kind.together * vectors

    @cached_property
    def _kind(self) -> type[Writer]:
        """In what it is computed."""
        if in_fours(self.problem, self.machine):
            return InFours
        return InPairs if in_pairs(self.problem, self.machine) else Writer

    def _tile_cycles(self, rows: int, vectors: int, lanes: int, steps: int, near: bool) -> float:
        """A register tile of `steps` updates; its vectors come from L1 if they are `near`, else from L2."""
        bits, instruction = 32 * lanes, instruction_of(self.problem, self.machine, lanes)
        multiply = rows * vectors / instruction.rate
        load = vectors * bits / self.machine.load_bits + rows / self.machine.broadcasts
        if not near:
            load += vectors * bits / 8 * self.machine.frequency / self.machine.l2_bandwidth
        overhead = TILE_CYCLES + STORE_CYCLES * rows * vectors
        return steps * max(multiply, load, instruction.latency) + overhead

    def build(self, point: Blocking) -> Implementation:
        """The code."""
        masking = None if isinstance(self.masking, Refusal) or not point.skipped else self.masking
        with function() as made:
            self._kind(self.problem, point, self.machine, masking).write()
        return Implementation(made.get())
