"""The tilings of a product by a sparse weight, and the time each is expected to take."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from dsc.ir import SparseAttr
from dsc.lower.nominal import nominal
from dsc.sparsity import Pattern
from dsc.targets.cpu.gemm.product import Product
from dsc.targets.cpu.gemm.tiling import Tiling
from dsc.targets.cpu.machine import Cpu
from dsc.targets.cpu.sparse.cost import (
    GROUP_CYCLES,
    STORE_CYCLES,
    entry_depth,
    entry_outputs,
    step_cycles,
    tile_vectors,
    turn_cycles,
)
from dsc.targets.cpu.sparse.entries import Entries, steps_of
from dsc.targets.cpu.sparse.matmul_code import makes_bytes, write
from dsc.targets.cpu.sparse.panel import square_of
from dsc.targets.cpu.turn import CHUNK
from dsc.targets.kernel import ArrayType, Implementation
from dsc.targets.machine import MultiplyAdd

COPY_CYCLES = 2.0
"""Copying one element of activations that are computed, or fewer than a vector."""


@dataclass(frozen=True, eq=False)
class SparseMatmulSpace:
    """Tiles of rows whose sums fit the registers, and ways to share panels between tasks."""

    source: Product
    encoding: SparseAttr
    machine: Cpu

    def points(self) -> Sequence[Tiling]:
        """All tilings worth considering."""
        lanes = self._instruction.n
        possible = tile_vectors(self.machine, self._instruction, self._outputs, self._depth)
        useful = max(possible[0], math.ceil(self._rows / lanes))
        return [
            Tiling(vectors * lanes, 1, lanes, axis, strip=strip)
            for vectors in possible
            if vectors <= useful
            for axis, strip in self._shares(math.ceil(self._rows / (vectors * lanes)))
        ]

    @cached_property
    def _instruction(self) -> MultiplyAdd:
        return self.machine.multiply_adds(*self.source.operands)[0]

    @cached_property
    def _pattern(self) -> Pattern:
        return Pattern.parse(self.encoding.pattern.data)

    @cached_property
    def _depth(self) -> int:
        return entry_depth(self._instruction, self._pattern)

    @cached_property
    def _outputs(self) -> int:
        return entry_outputs(self.machine, self._instruction, self._pattern, self._depth)

    def _shares(self, tiles: int) -> list[tuple[str, int]]:
        """Panels of a task: all, or so many that there is work for each core."""
        cores = self.machine.cores
        shares = {self._panels: "both" if tiles > 1 else "none"}
        if tiles % cores:
            shares.update({math.ceil(self._panels / parts): "both" for parts in (cores, 4 * cores)})
        return [(axis, strip) for strip, axis in shares.items()]

    @cached_property
    def _rows(self) -> int:
        return nominal(self.source.m)

    @cached_property
    def _panels(self) -> int:
        return math.ceil(nominal(self.source.n) / self._instruction.n)

    @cached_property
    def _weight(self) -> ArrayType:
        assert self.source.weight is not None
        return ArrayType.of(self.source.params[self.source.weight])

    @cached_property
    def _steps(self) -> int:
        """Of the whole weight."""
        return steps_of(self.encoding, self._outputs, self._weight.shape, self._instruction.k, self._depth)

    @cached_property
    def _element(self) -> float:
        """Bytes of a factor."""
        return 4 / self._instruction.k

    def estimate(self, point: Tiling) -> float:
        """Seconds: entries, turning what is read and what is summed, and streaming the weight."""
        machine, lanes, k = self.machine, point.lanes, nominal(self.source.k)
        tiles, strips = math.ceil(self._rows / point.rows), math.ceil(self._panels / point.strip)
        vectors = point.rows // lanes
        scratch = self._element * k * point.rows
        far = max(0.0, 1 - machine.l1_bytes / scratch)
        each = step_cycles(machine, self._instruction, self._outputs, vectors, far, self._depth)
        if scratch > machine.l2_bytes // 2:
            each *= 2
        groups = self._panels * (lanes // self._outputs)
        turned = turn_cycles(lanes) / (4 if self.finishes_first(point) else 1)
        finished = vectors * self._panels * (turned + STORE_CYCLES * lanes)
        cycles = tiles * (self._steps * each + groups * GROUP_CYCLES + finished + strips * self._turning(point.rows))
        tasks = 1 if point.axis == "none" else tiles * strips
        share = math.ceil(tasks / min(tasks, machine.cores)) / tasks
        stored = self._steps * (4.0 * self._instruction.k / self._depth + 4.0 * self._outputs)
        streamed = stored * tiles / machine.bandwidth(stored)
        seconds = max(cycles / machine.frequency, streamed) * share
        return seconds + (machine.launch_seconds if tasks > 1 else 0.0)

    def finishes_first(self, point: Tiling) -> bool:
        """Whether bytes are made of sums before these are turned, by whole chunks: a quarter is turned then."""
        return self._makes_bytes and point.rows % CHUNK == 0

    @cached_property
    def _makes_bytes(self) -> bool:
        return makes_bytes(self.source)

    def _turning(self, rows: int) -> float:
        """Cycles to turn the activations of a tile."""
        square, k = square_of(self._instruction, self._depth), nominal(self.source.k)
        if self.source.plain_a and k >= square * self._depth:
            return rows / square * math.ceil(k / (square * self._depth)) * turn_cycles(square)
        return COPY_CYCLES * k * rows

    def build(self, point: Tiling) -> Implementation:
        """The code, and how the weight is packed."""
        source, weight, instruction, depth = self.source, self.source.weight, self._instruction, self._depth
        assert weight is not None
        axis, step, sums = self.encoding.axis.data, depth * point.rows, source.sums is not None
        packing = Entries(self._outputs, point.lanes, axis, self._steps, step, (0,), instruction.k, depth, sums)
        code = write(source, point, instruction, {weight: packing.arrays(self._weight)}, self.finishes_first(point))
        return Implementation(code, {weight: packing})
