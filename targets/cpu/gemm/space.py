"""The tilings of a matrix product, and the time each is expected to take."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from dsc.lower.nominal import batch, nominal
from dsc.targets.cpu.gemm.code import write
from dsc.targets.cpu.gemm.panels import Panels
from dsc.targets.cpu.gemm.product import FLOAT32, Product
from dsc.targets.cpu.gemm.tiling import Tiling
from dsc.targets.cpu.machine import Cpu
from dsc.targets.cpu.matrix_tile import most_stacked_rows
from dsc.targets.cpu.tile import most_rows
from dsc.targets.kernel import ArrayType, Implementation
from dsc.targets.machine import MultiplyAdd

STORE_CYCLES = 1.5
"""Clearing and storing one vector of a tile, epilogue included."""
TILE_CYCLES = 30
"""Starting a tile and draining the pipeline at its end."""
PACK_CYCLES = 0.3
"""Packing one element at run time."""
WIDEN_CYCLES = 1.0
"""Making float32 of a vector in half precision: it is loaded, converted and stored."""
SHARING_TILES = 8
"""Row tiles that share a panel which is widened at run time, where it is not known how many there are."""
VISIBLE = 0.1
"""Share of loading from L1 that multiplying does not hide, where lanes are operands: of equal tiles, the one that loads
least is taken. A guess."""
HIDDEN = 0.3
"""Share of the time of a stream from L3 or memory that computing does not hide."""
COPIED_TILES = 4
"""Row tiles of a task that copies its rows, where it is not known how many there are: they share each panel in L1."""
LOOP_INSTRUCTIONS = 2
"""Of a step: counting it, and the jump."""
MAX_VECTORS = 8


@dataclass(frozen=True, eq=False)
class GemmSpace:
    """Register tiles that fit the machine, along with the ways to share the work between cores."""

    source: Product
    machine: Cpu

    def points(self) -> Sequence[Tiling]:
        """All tilings worth considering."""
        return [
            replace(tile, axis=axis, block=block, strip=strip)
            for tile in (*self._tiles(), *self._matrix_tiles())
            for axis, block, strip in self._shares(tile.rows, tile.columns)
        ]

    def _tiles(self) -> Iterator[Tiling]:
        """Tiles of rows and vectors that fit the registers; how they are shared out is left open."""
        m = self.source.m
        widest, *narrower = [row.n for row in self.machine.multiply_adds(*self.source.operands)]
        for lanes in (widest, *narrower[:1]) if widest > 8 else (widest,):
            instruction = self._instruction(lanes)
            needed = math.ceil(self._columns / lanes)
            for vectors in range(1, min(MAX_VECTORS, needed) + 1):
                most = most_rows(instruction, vectors, self._registers(instruction), self._depth(lanes) > 1)
                for rows in range(1, (min(most, m) if isinstance(m, int) else most) + 1):
                    if rows * vectors >= instruction.latency or rows in (m, most):
                        yield Tiling(rows, vectors, lanes, "none", depth=self._depth(lanes))

    def _registers(self, instruction: MultiplyAdd) -> int:
        """For a tile: LLVM writes two steps out, and of what nothing accumulates it has a product of the next ahead."""
        ahead = not instruction.accumulates and instruction.k > 1
        return self.machine.vector_registers - (1 if ahead else 0)

    def _matrix_tiles(self) -> Iterator[Tiling]:
        """The same, of instructions that multiply several rows at once."""
        for row in self._matrix_products:
            lanes, m = row.m * row.n, self.source.m
            for vectors in range(1, min(MAX_VECTORS, math.ceil(self._columns / lanes)) + 1):
                largest = most_stacked_rows(row, vectors, self.machine.vector_registers)
                most = min(largest, math.ceil(m / row.m) * row.m) if isinstance(m, int) else largest
                for rows in range(row.m, most + 1, row.m):
                    if rows * vectors >= row.latency or rows == most:
                        yield Tiling(rows, vectors, lanes, "none", stacked=row.m)

    def _depth(self, lanes: int) -> int:
        """As many steps as a vector has lanes, where the elements of `a` lie side by side and lanes are operands."""
        together = self.source.plain_a or self._copied
        return lanes if self.machine.lane_operand and together and self._steps >= lanes else 1

    @cached_property
    def _copied(self) -> bool:
        """Whether each task copies its rows of `a`: integers, which it may have to widen, where elements of a row are
        taken together."""
        instruction = self.machine.multiply_adds(*self.source.operands)[0]
        widened = self.machine.lane_operand and self.source.operands != FLOAT32 and not self.source.plain_a
        return instruction.k > 1 or widened

    def _shares(self, rows: int, columns: int) -> Iterator[tuple[str, int, int]]:
        """Ways to share the work, with the row tiles and panels of a task, which copies its rows once for these."""
        panels = math.ceil(self._columns / columns)
        fair = math.ceil(panels / self.machine.cores)
        for axis, block in self._axes(rows, columns):
            yield axis, block, 1
            if self._copied and axis in ("columns", "both") and fair > 1:
                yield axis, block, fair
                yield axis, block, math.ceil(fair / 4)

    def _axes(self, rows: int, columns: int) -> Iterator[tuple[str, int]]:
        """Axes that are divided: row tiles of one task keep their part of `a` in half of L2."""
        tiles = math.ceil(self._rows / rows)
        panels = math.ceil(self._columns / columns)
        if not isinstance(self.source.m, int):
            # few rows or many: either way there are tasks, and packing `b` for each is not worth it
            if self.source.weight is None:
                yield "columns", 1
                return
            yield "both", SHARING_TILES if self.source.widens_panels else 1
            if self._copied:
                yield "both", COPIED_TILES
            return
        yield "none", max(1, tiles)
        if panels * batch(self.source.batch) > 1:
            yield "columns", 1
        if tiles * batch(self.source.batch) > 1:
            fitting = max(1, self.machine.l2_bytes // 2 // (4 * rows * max(1, self._steps)))
            for parts in (1, 2, 4):
                share = max(1, math.ceil(tiles / (parts * self.machine.cores)))
                if share <= fitting or parts == 4:
                    yield "rows", min(share, fitting)
        if panels > 1 and tiles > 1 and panels % self.machine.cores:
            yield "both", math.ceil(tiles / 2)
            yield "both", math.ceil(tiles / self.machine.cores)

    @cached_property
    def _rows(self) -> int:
        """Of the product, in all; products of unknown sizes take long to think through, and each point asks."""
        return nominal(self.source.m)

    @cached_property
    def _columns(self) -> int:
        return nominal(self.source.n)

    @cached_property
    def _matrix_products(self) -> tuple[MultiplyAdd, ...]:
        return self.machine.matrix_products(*self.source.operands)

    def _instruction(self, lanes: int, stacked: int = 1) -> MultiplyAdd:
        """Of sums in vectors of so many lanes, and of so many rows at once."""
        if stacked > 1:
            return next(row for row in self._matrix_products if (row.m, row.m * row.n) == (stacked, lanes))
        return self.machine.multiply_add(lanes, *self.source.operands)

    @cached_property
    def _steps(self) -> int:
        """Of the reduction: what a step takes of `a` for a row, and of `b` for a column, are 4 bytes."""
        instruction = self.machine.multiply_adds(*self.source.operands)[0]
        return math.ceil(nominal(self.source.k) / instruction.k)

    def estimate(self, point: Tiling, end_cycles: float = 0.0) -> float:
        """Seconds: tiles at the rate of multiplying or loading, and what caches do not hide.

        end_cycles: of a tile, for what is done to its sums besides storing them.
        """
        k, batches = self._steps, batch(self.source.batch)
        tiles = math.ceil(self._rows / point.rows)
        panels = math.ceil(self._columns / point.columns)
        blocks = math.ceil(tiles / point.block) if point.by_rows else 1
        strips = math.ceil(panels / point.strip) if point.by_columns else 1
        tasks = 1 if point.axis == "none" else batches * blocks * strips
        cycles = batches * tiles * panels * (k * self._cycles_per_k(point) + self._tile_cycles(point) + end_cycles)
        if self.source.weight is None:
            cycles += PACK_CYCLES * batches * nominal(self.source.k) * panels * point.columns * blocks
        if self.source.widens_panels:
            cycles += WIDEN_CYCLES * batches * k * panels * point.vectors * blocks
        if self._copied:
            cycles += PACK_CYCLES * batches * nominal(self.source.k) * tiles * point.rows * strips
        seconds = cycles / self.machine.frequency + self._stream_seconds(point, tiles, panels, blocks)
        threads = min(tasks, self.machine.cores)
        share = math.ceil(tasks / threads) / tasks
        return seconds * share + (self.machine.launch_seconds if tasks > 1 else 0.0)

    def _cycles_per_k(self, point: Tiling) -> float:
        """Cycles for one rank-1 update of a tile."""
        machine, instruction, k = self.machine, self._instruction(point.lanes, point.stacked), self._steps
        updates = instruction.k / self.machine.multiply_adds(*self.source.operands)[0].k
        multiply = point.rows * point.vectors / (instruction.rate * updates)
        in_vectors = point.depth > 1 or point.stacked > 1
        of_a = point.rows * 32 / machine.load_bits if in_vectors else point.rows / machine.broadcasts
        load = point.vectors * 32 * point.lanes / machine.load_bits + of_a
        visible = VISIBLE * load if in_vectors else 0.0
        panel_bytes = self._loaded_bytes * k * point.columns
        if panel_bytes > machine.l1_bytes // 2:
            level = machine.l2_bandwidth if panel_bytes <= machine.l2_bytes // 2 else machine.beyond_l2
            load = max(load, self._loaded_bytes * point.columns * machine.frequency / level)
        # rows of `a` that are a multiple of a way apart fall into the same set of L1
        crowded = 1.3 if point.rows > machine.l1_ways and (4 * k) % machine.l1_way_bytes == 0 else 1.0
        cycles = max(multiply, load, instruction.latency / updates)
        if not instruction.accumulates:  # twice the instructions: here starting them may be what takes longest
            started = 2 * point.rows * point.vectors + point.rows + point.vectors + LOOP_INSTRUCTIONS
            cycles = max(cycles, started / (machine.issue * updates))
        return crowded * cycles + visible

    @property
    def _stored_bytes(self) -> float:
        """Of a step's elements of `b` for a column, in memory."""
        return 2.0 if self.source.widens else 4.0

    @property
    def _loaded_bytes(self) -> float:
        """The same, as they are loaded for each tile."""
        return 4.0 if self.source.widens_panels else self._stored_bytes

    def _tile_cycles(self, point: Tiling) -> float:
        return TILE_CYCLES + STORE_CYCLES * point.rows * point.vectors

    def _stream_seconds(self, point: Tiling, tiles: int, panels: int, blocks: int) -> float:
        """Reading `a` for each panel and `b` for each block of rows, where they do not stay in L2."""
        machine, k, batches = self.machine, self._steps, batch(self.source.batch)
        a, b = 4.0 * k * tiles * point.rows, self._stored_bytes * k * panels * point.columns
        near_a = a / blocks <= machine.l2_bytes / 2
        times_b = blocks if point.axis == "rows" and b > machine.l2_bytes / 2 else 1
        bytes_read = batches * (a * (1 if near_a else panels) + b * times_b)
        return HIDDEN * bytes_read / machine.bandwidth(batches * (a + b))

    def build(self, point: Tiling) -> Implementation:
        """The code, and how a constant `b` is packed into panels."""
        source, instruction = self.source, self._instruction(point.lanes, point.stacked)
        if source.weight is None:
            return Implementation(write(source, point, instruction, {}))
        packing = Panels(point.columns, instruction.k, source.packed, source.transposed_weight, source.sums is not None)
        weight = source.params[source.weight]
        packed = packing.arrays(ArrayType.of(weight))
        return Implementation(write(source, point, instruction, {source.weight: packed}), {source.weight: packing})
