"""The tilings of a contraction, and the time each is expected to take."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from dsc.lower.nominal import batch, nominal, volume
from dsc.targets.gpu.contraction.code import Layout, write
from dsc.targets.gpu.contraction.source import Contraction
from dsc.targets.gpu.contraction.tiling import DEEP, TILINGS, Tiling
from dsc.targets.gpu.contraction.traffic import Way, best
from dsc.targets.gpu.estimate import tiled_seconds
from dsc.targets.gpu.machine import Gpu
from dsc.targets.kernel import Implementation
from dsc.targets.machine import MultiplyAdd

WASTE = 1.15
"""Times what a tiling fetches that fetches least for its elements: those that fetch more are left out. They would be
quick where few blocks run, at the cost of whatever else wants memory."""


@dataclass(frozen=True, eq=False)
class ContractionSpace:
    """Tiles of blocks and of threads."""

    source: Contraction
    machine: Gpu
    instruction: MultiplyAdd

    def points(self) -> Sequence[Tiling]:
        """All tilings: what is wasted on a small result shows in its estimate. But narrow ones, where these load pieces
        of memory that wide ones load whole."""
        deep = [tiling for tiling in DEEP if tiling.shared_bytes <= self.machine.shared_bytes]
        least = min(map(self._fetched, TILINGS))
        return [self._as_stored(tiling) for tiling in (*TILINGS, *deep) if self._fetched(tiling) <= WASTE * least]

    def _as_stored(self, tiling: Tiling) -> Tiling:
        """With neighbouring rows for neighbouring threads, where that fills pieces of memory. Vectors of rows that are
        loaded at once stay together."""
        loading = self._ways[0][tiling.rows].loading
        is_free = loading.by_depth or loading.vector == 1
        return replace(tiling, strided=is_free and self.source.is_broken(tiling.columns, self.machine.sector_bytes))

    def estimate(self, point: Tiling) -> float:
        """Seconds: tiles at the rate of multiplying, of reading operands, or of waiting for them."""
        source = self.source
        m, n, k, batches = nominal(source.m), nominal(source.n), nominal(source.k), batch(source.batch)
        down, across = math.ceil(m / point.rows), math.ceil(n / point.columns)
        moved = 4.0 * sum(volume(tensor.shape) for tensor in (*source.params, *source.outputs))
        of_a, of_b = self._ways[0][point.rows].bytes, self._ways[1][point.columns].bytes
        loaded = batches * k * (across * m * of_a + down * n * of_b)
        return tiled_seconds(self.machine, point, self.instruction, batches * down * across, k, moved, loaded)

    def build(self, point: Tiling) -> Implementation:
        """The code."""
        return Implementation(write(self.source, point, self.instruction, self._layout(point)), self.source.packings)

    def _layout(self, tiling: Tiling) -> Layout:
        return Layout(self._ways[0][tiling.rows].loading, self._ways[1][tiling.columns].loading)

    def _fetched(self, tiling: Tiling) -> float:
        """Bytes that come from memory for elements of both factors, as many of either as a tile has."""
        of_a, of_b = self._ways[0][tiling.rows].bytes, self._ways[1][tiling.columns].bytes
        return (tiling.rows * of_a + tiling.columns * of_b) / (tiling.rows + tiling.columns)

    @cached_property
    def _ways(self) -> tuple[Mapping[int, Way], Mapping[int, Way]]:
        """How tiles of each width load the factors: so that neighbouring threads load neighbours in memory."""
        source, machine = self.source, self.machine
        rows, columns = {tiling.rows for tiling in TILINGS}, {tiling.columns for tiling in TILINGS}
        return (
            {width: best(source.a, source.params, width, machine) for width in rows},
            {width: best(source.b, source.params, width, machine) for width in columns},
        )
