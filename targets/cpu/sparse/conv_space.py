"""The tilings of a sparse convolution, and the time each is expected to take."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from dsc.ir import SparseAttr
from dsc.lower.nominal import batch
from dsc.sparsity import Pattern
from dsc.targets.cpu.conv.cost import cold_weights
from dsc.targets.cpu.conv.problem import Region
from dsc.targets.cpu.machine import Cpu
from dsc.targets.cpu.sparse.conv_code import SparseConvPoint, implement, plane_of
from dsc.targets.cpu.sparse.cost import GROUP_CYCLES, STORE_CYCLES, entry_cycles, turn_cycles
from dsc.targets.cpu.sparse.entries import Entries, entries_of, outputs_of
from dsc.targets.kernel import Implementation

COPY_CYCLES = 0.5
"""Copying one element of a plain image."""
SCATTER_CYCLES = 1.5
"""Storing one element of a plain result."""


@dataclass(frozen=True)
class SparseConvSpace:
    """Tiles of pixels whose sums fit the registers, strips of rows that fit L2, and ways to share panels."""

    region: Region
    encoding: SparseAttr
    machine: Cpu
    out_block: int

    def points(self) -> Sequence[SparseConvPoint]:
        """All tilings worth considering."""
        return [
            SparseConvPoint(vectors, rows, math.ceil(self._panels / parts))
            for vectors in range(1, self._most_vectors + 1)
            for rows in self._strips()
            for parts in {1, min(self.machine.cores, self._panels)}
        ]

    @cached_property
    def _lanes(self) -> int:
        return self.machine.multiply_add(self.machine.lanes()).n

    @cached_property
    def _outputs(self) -> int:
        return outputs_of(Pattern.parse(self.encoding.pattern.data), self._lanes)

    @cached_property
    def _most_vectors(self) -> int:
        fitting = (self.machine.vector_registers - 2) // (self._outputs + 1)
        pixels = int(self.region.conv.oh) * int(self.region.conv.ow)
        return min(fitting, 8, math.ceil(pixels / self._lanes) + 1)

    @cached_property
    def _panels(self) -> int:
        return math.ceil(self.region.conv.oc / self._lanes)

    def _strips(self) -> list[int]:
        """Numbers of rows: of equal strips, as many as cores share evenly, or as fit L2."""
        oh = int(self.region.conv.oh)
        return sorted({math.ceil(oh / parts) for parts in (1, 2, 3, 4, 6, 8, 12, 16, 24, 32) if parts <= oh})

    @cached_property
    def _entries(self) -> int:
        """Of the whole weight."""
        return entries_of(self.encoding, self._outputs, self.region.conv.weight_shape)

    def estimate(self, point: SparseConvPoint) -> float:
        """Seconds: entries, turning what is read and what is summed, and weights that are not yet in a cache."""
        conv, machine, lanes = self.region.conv, self.machine, self._lanes
        plane = plane_of(self.region, point, lanes)
        tiles = math.ceil(plane.pixels / (lanes * point.vectors))
        scratch = 4 * conv.c * plane.size
        strips, chunks = math.ceil(int(conv.oh) / point.rows), math.ceil(self._panels / point.panels)
        tasks = batch((conv.n,)) * strips * chunks
        instruction = machine.multiply_add(lanes)
        each = entry_cycles(machine, instruction, self._outputs, point.vectors, far=scratch > machine.l1_bytes // 2)
        if scratch > machine.l2_bytes // 2:
            each *= 2
        groups = point.panels * (lanes // self._outputs)
        entries = self._entries * point.panels / self._panels
        sums = tiles * (entries * each + groups * GROUP_CYCLES)
        stored = STORE_CYCLES if self.out_block >= lanes else SCATTER_CYCLES * lanes
        squares = tiles * point.vectors * point.panels
        finished = squares * (turn_cycles(lanes) + stored * lanes)
        cycles = math.ceil(tasks / machine.cores) * (sums + finished + self._filling(scratch))
        compute = cycles / machine.frequency
        cold = cold_weights(machine, 4.0 * self._entries * (self._outputs + 1))
        return max(compute, cold) + 0.3 * min(compute, cold) + (machine.launch_seconds if tasks > 1 else 0.0)

    def _filling(self, scratch: int) -> float:
        """Cycles to fill scratch of so many bytes."""
        lanes = self._lanes
        if self.region.conv.block % lanes:
            return COPY_CYCLES * scratch / 4
        return scratch / (4 * lanes * lanes) * turn_cycles(lanes)

    def build(self, point: SparseConvPoint) -> Implementation:
        """The code of `point`."""
        plane = plane_of(self.region, point, self._lanes)
        axis = self.encoding.axis.data
        packing = Entries(self._outputs, self._lanes, axis, self._entries, plane.size, plane.taps)
        return implement(self.region, point, self.machine.multiply_add(self._lanes), packing)
