"""The ways to share a product of a few rows, and the time each is expected to take."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from dsc.lower.nominal import nominal, volume
from dsc.lower.stages import element_bytes
from dsc.targets.gpu.estimate import Launch, resident_blocks, seconds
from dsc.targets.gpu.sectors import sampled, touched, unraveled
from dsc.targets.gpu.vector_product.code import write
from dsc.targets.gpu.vector_product.sharing import Sharing, sharings
from dsc.targets.gpu.vector_product.source import VectorProduct
from dsc.targets.kernel import Implementation

LOAD_BYTES_PER_CYCLE = 128
"""That a multiprocessor's threads get at once, if it is near."""
L2_BYTES_PER_CYCLE = 64
"""That one multiprocessor gets from L2 at most, on all of these."""
ELEMENT_INSTRUCTIONS = 2
"""Of a thread for each element that it loads: conversion, address, what is beyond the depth."""
UNDER_WAY = 4
"""Loads of a thread at once: ptxas keeps about so many, and no registers for more."""
TAIL_CYCLES = 300
"""Of a block, when it has multiplied: exchanges, a barrier, the sums of its warps, the epilogue. Others load
meanwhile."""


@dataclass(frozen=True, eq=False)
class VectorProductSpace:
    """Sharings of one product."""

    source: VectorProduct

    def points(self) -> Sequence[Sharing]:
        """All that fit."""
        return self._points

    @cached_property
    def _points(self) -> tuple[Sharing, ...]:
        return tuple(sharings(self.source, element_bytes(self.source.contraction.acc)))

    def estimate(self, point: Sharing) -> float:
        """Seconds: of reading the matrix, mostly."""
        machine, launch = self.source.machine, self._launch(point)
        resident = resident_blocks(machine, launch)
        if resident == 0:
            return math.inf
        together = min(resident, math.ceil(launch.blocks / machine.cores))
        compute = self._instruction_cycles(point, launch.blocks) + TAIL_CYCLES * launch.blocks / together
        return seconds(machine, replace(launch, cycles=max(launch.cycles, compute))) + self._second_launch(point)

    def _launch(self, point: Sharing) -> Launch:
        """What the threads of the first launch load."""
        source, machine, sums = self.source, self.source.machine, self.source.contraction
        down, across = math.ceil(nominal(source.m) / point.rows), math.ceil(nominal(source.n) / point.width)
        blocks = volume(sums.batch) * down * across * point.slices
        steps = math.ceil(nominal(sums.k) / (point.step * point.slices))
        walked = blocks * steps * point.step * source.element_bytes
        matrix = walked * min(point.width, nominal(source.n)) * self._waste(point)
        vectors = walked * point.rows
        far = matrix + vectors * min(1.0, machine.cores / blocks)  # other blocks of a multiprocessor find them near
        far += self._stored_sectors(point) * machine.sector_bytes
        cycles = [
            (matrix + vectors * machine.warp / 4) / LOAD_BYTES_PER_CYCLE,
            far / L2_BYTES_PER_CYCLE,
        ]
        return Launch(
            blocks, point.threads, max(cycles), self._moved, far, point.registers,
            point.shared_bytes(machine, element_bytes(sums.acc)), self._in_flight_bytes(point),
        )  # fmt: skip

    def _instruction_cycles(self, point: Sharing, blocks: int) -> float:
        """Of a multiprocessor, for the arithmetic of all blocks."""
        machine, k = self.source.machine, nominal(self.source.contraction.k)
        steps = math.ceil(k / (point.step * point.slices))
        instructions = point.rows * point.columns * point.depth
        instructions += ELEMENT_INSTRUCTIONS * point.depth * (point.rows + point.columns)
        return 2 * blocks * point.threads * steps * instructions * machine.frequency / machine.peak()

    def build(self, point: Sharing) -> Implementation:
        """The code."""
        return Implementation(write(self.source, point), self.source.contraction.packings)

    @cached_property
    def _moved(self) -> float:
        """Bytes of all tensors."""
        sums = self.source.contraction
        return sum(float(volume(t.shape) * element_bytes(t)) for t in (*sums.params, *sums.outputs))

    def _in_flight_bytes(self, point: Sharing) -> int:
        """Of the matrix, that a thread has asked for before it waits."""
        loads, elements = (point.columns, point.depth) if point.by_depth else (point.depth, point.columns)
        if point.by_depth and point.interleaved:
            loads, elements = point.columns * point.depth, 1
        return min(loads, UNDER_WAY) * elements * self.source.element_bytes

    def _waste(self, point: Sharing) -> float:
        """Bytes of the pieces of memory that are read, for each that is wanted."""
        source, sector = self.source, self.source.machine.sector_bytes
        row, size = nominal(source.contraction.k if source.by_depth else source.n), source.element_bytes
        piece = size * min(row, point.step if source.by_depth else point.width)
        whole = row * size % sector == 0 and piece % sector == 0
        return 1.0 if whole else (piece + sector - size) / piece

    def _stored_sectors(self, point: Sharing) -> float:
        """Pieces of memory that all warps write results, or slices of them, to."""
        source, sums = self.source, self.source.contraction
        m, n = nominal(source.m), nominal(source.n)
        down, across = math.ceil(m / point.rows), math.ceil(n / point.width)
        block = sampled(down * across)[:, None, None]
        warps = math.ceil(point.rows * point.width / source.machine.warp)
        element = np.arange(warps * source.machine.warp).reshape(1, warps, -1)
        j, i = divmod(element, point.rows) if point.by_row else divmod(element, point.width)[::-1]
        row, column = block % down * point.rows + i, block // down * point.width + j
        place = self._place(row, column).reshape(-1, source.machine.warp)
        inside = (element < point.rows * point.width) & (row < m) & (column < n)
        size = element_bytes(sums.outputs[0])
        found = touched(place * size, size, inside.reshape(place.shape), source.machine.sector_bytes)
        return float(found.mean()) * warps * volume(sums.batch) * down * across * point.slices

    def _place(self, row: np.ndarray, column: np.ndarray) -> np.ndarray:
        """Where results lie, in elements."""
        source, stored = self.source, self.source.contraction.stored
        rows, columns = unraveled(row, source.rows), unraveled(column, source.columns)
        at = [*columns, *rows] if source.is_turned else [*rows, *columns]
        steps = stored.steps[len(source.contraction.batch) :]
        return sum((index * nominal(step) for index, step in zip(at, steps, strict=True)), 0 * (row + column))

    def _second_launch(self, point: Sharing) -> float:
        """Seconds of adding the slices, if there are several."""
        if point.slices == 1:
            return 0.0
        machine, sums = self.source.machine, self.source.contraction
        count = volume(sums.stored.sizes)
        written = 2.0 * count * point.slices * element_bytes(sums.acc)
        cycles = count * point.slices * 4.0 / machine.warp
        return seconds(machine, Launch(math.ceil(count / 128), 128, cycles, written))
