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
from dsc.targets.cpu.sparse.cost import (
    GROUP_CYCLES,
    STORE_CYCLES,
    entry_outputs,
    step_cycles,
    tile_vectors,
    turn_cycles,
)
from dsc.targets.cpu.sparse.entries import Entries, steps_of
from dsc.targets.cpu.sparse.panel import square_of
from dsc.targets.kernel import Implementation
from dsc.targets.machine import MultiplyAdd

STRIPS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256)
"""Into so many an image is cut; large ones into single rows, too."""
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
    instruction: MultiplyAdd
    out_block: int

    def points(self) -> Sequence[SparseConvPoint]:
        """All tilings worth considering."""
        possible = tile_vectors(self.machine, self.instruction, self._outputs)
        pixels = int(self.region.conv.oh) * int(self.region.conv.ow)
        useful = max(possible[0], math.ceil(pixels / self._lanes) + 1)
        return [
            SparseConvPoint(vectors, rows, math.ceil(self._panels / parts))
            for vectors in possible
            if vectors <= useful
            for rows in self._strips()
            for parts in {1, min(self.machine.cores, self._panels)}
        ]

    @property
    def _lanes(self) -> int:
        return self.instruction.n

    @cached_property
    def _outputs(self) -> int:
        return entry_outputs(self.machine, self.instruction, Pattern.parse(self.encoding.pattern.data))

    @cached_property
    def _panels(self) -> int:
        return math.ceil(self.region.conv.oc / self._lanes)

    def _strips(self) -> list[int]:
        """Numbers of rows: of equal strips, as many as cores share evenly, or as fit L2."""
        oh = int(self.region.conv.oh)
        return sorted({math.ceil(oh / parts) for parts in STRIPS if parts <= oh} | ({1} if oh > STRIPS[-1] else set()))

    @cached_property
    def _steps(self) -> int:
        """Of the whole weight."""
        return steps_of(self.encoding, self._outputs, self.region.conv.weight_shape, self.instruction.k)

    def estimate(self, point: SparseConvPoint) -> float:
        """Seconds: entries, turning what is read and what is summed, and weights that are not yet in a cache."""
        conv, machine, lanes = self.region.conv, self.machine, self._lanes
        plane = plane_of(self.region, point, self.instruction)
        tiles = math.ceil(plane.pixels / (lanes * point.vectors))
        scratch = conv.c * plane.size
        strips, chunks = math.ceil(int(conv.oh) / point.rows), math.ceil(self._panels / point.panels)
        tasks = batch((conv.n,)) * strips * chunks
        size = 4 / self.instruction.k * scratch
        again = max(1.0, len(plane.taps) * self.encoding.density)  # entries of a channel, which mostly read its lines
        far = max(0.0, 1 - machine.l1_bytes / size) / again
        each = step_cycles(machine, self.instruction, self._outputs, point.vectors, far, anywhere=True)
        if size > machine.l2_bytes // 2:
            each *= 2
        groups = point.panels * (lanes // self._outputs)
        steps = self._steps * point.panels / self._panels
        sums = tiles * (steps * each + groups * GROUP_CYCLES)
        stored = STORE_CYCLES if self.out_block >= lanes else SCATTER_CYCLES * lanes
        squares = tiles * point.vectors * point.panels
        finished = squares * (turn_cycles(lanes) + stored * lanes)
        cycles = math.ceil(tasks / machine.cores) * (sums + finished + self._filling(scratch))
        compute = cycles / machine.frequency
        cold = cold_weights(machine, 4.0 * self._steps * (self._outputs + self.instruction.k))
        return max(compute, cold) + 0.3 * min(compute, cold) + (machine.launch_seconds if tasks > 1 else 0.0)

    def _filling(self, elements: int) -> float:
        """Cycles to fill scratch of so many elements."""
        square = square_of(self.instruction)
        if self.region.conv.block % square:
            return COPY_CYCLES * elements
        return elements / (square * square) * turn_cycles(square)

    def build(self, point: SparseConvPoint) -> Implementation:
        """The code of `point`."""
        plane, k = plane_of(self.region, point, self.instruction), self.instruction.k
        axis = self.encoding.axis.data
        packing = Entries(self._outputs, self._lanes, axis, self._steps, plane.size, plane.taps, k, sums=k > 1)
        return implement(self.region, point, self.instruction, packing)
