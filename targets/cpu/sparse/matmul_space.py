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
from dsc.targets.cpu.sparse.cost import GROUP_CYCLES, STORE_CYCLES, entry_cycles, turn_cycles
from dsc.targets.cpu.sparse.entries import Entries, entries_of, outputs_of
from dsc.targets.cpu.sparse.matmul_code import write
from dsc.targets.kernel import ArrayType, Implementation

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
        return [
            Tiling(vectors * self._lanes, 1, self._lanes, axis, strip=strip)
            for vectors in range(1, self._most_vectors + 1)
            for axis, strip in self._shares(math.ceil(self._rows / (vectors * self._lanes)))
        ]

    @cached_property
    def _lanes(self) -> int:
        return self.machine.multiply_adds(*self.source.operands)[0].n

    @cached_property
    def _outputs(self) -> int:
        return outputs_of(Pattern.parse(self.encoding.pattern.data), self._lanes)

    @cached_property
    def _most_vectors(self) -> int:
        """Of a tile: its sums and its inputs have registers, and two are left for what is loaded ahead."""
        fitting = (self.machine.vector_registers - 2) // (self._outputs + 1)
        return min(fitting, 8, math.ceil(self._rows / self._lanes))

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
        return math.ceil(nominal(self.source.n) / self._lanes)

    @cached_property
    def _entries(self) -> int:
        """Of the whole weight."""
        assert self.source.weight is not None
        shape = ArrayType.of(self.source.params[self.source.weight]).shape
        return entries_of(self.encoding, self._outputs, shape)

    def estimate(self, point: Tiling) -> float:
        """Seconds: entries, turning what is read and what is summed, and streaming the weight."""
        machine, lanes, k = self.machine, point.lanes, nominal(self.source.k)
        tiles, strips = math.ceil(self._rows / point.rows), math.ceil(self._panels / point.strip)
        vectors = point.rows // lanes
        scratch = 4 * k * point.rows
        instruction = machine.multiply_add(lanes)
        each = entry_cycles(machine, instruction, self._outputs, vectors, far=scratch > machine.l1_bytes // 2)
        if scratch > machine.l2_bytes // 2:
            each *= 2
        groups = self._panels * (lanes // self._outputs)
        squares = vectors * self._panels
        finished = squares * (turn_cycles(lanes) + STORE_CYCLES * lanes)
        if self.source.plain_a and k >= lanes:
            turned = vectors * math.ceil(k / lanes) * turn_cycles(lanes)
        else:
            turned = COPY_CYCLES * k * point.rows
        cycles = tiles * (self._entries * each + groups * GROUP_CYCLES + finished + strips * turned)
        tasks = 1 if point.axis == "none" else tiles * strips
        threads = min(tasks, machine.cores)
        share = math.ceil(tasks / threads) / tasks
        stored = 4.0 * self._entries * (self._outputs + 1)
        streamed = stored * tiles / machine.bandwidth(stored)
        compute = cycles / machine.frequency * share
        return max(compute, streamed * share) + (machine.launch_seconds if tasks > 1 else 0.0)

    def build(self, point: Tiling) -> Implementation:
        """The code, and how the weight is packed."""
        source, weight = self.source, self.source.weight
        assert weight is not None
        type_ = ArrayType.of(source.params[weight])
        packing = Entries(self._outputs, point.lanes, self.encoding.axis.data, self._entries, point.rows, (0,))
        instruction = self.machine.multiply_add(point.lanes)
        code = write(source, point, instruction, {weight: packing.arrays(type_)})
        return Implementation(code, {weight: packing})
