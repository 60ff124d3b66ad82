"""The tilings of a contraction, and the time each is expected to take."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from dsc.lower.nominal import batch, nominal, volume
from dsc.targets.gpu.contraction.code import Layout, write
from dsc.targets.gpu.contraction.factors import Factor
from dsc.targets.gpu.contraction.loading import Loading
from dsc.targets.gpu.contraction.source import Contraction
from dsc.targets.gpu.contraction.tiling import TILINGS, Tiling
from dsc.targets.gpu.contraction.traffic import fetched
from dsc.targets.gpu.estimate import tiled_seconds
from dsc.targets.gpu.machine import Gpu
from dsc.targets.kernel import Implementation
from dsc.targets.machine import MultiplyAdd


@dataclass(frozen=True, eq=False)
class ContractionSpace:
    """Tiles of blocks and of threads."""

    source: Contraction
    machine: Gpu
    instruction: MultiplyAdd

    def points(self) -> Sequence[Tiling]:
        """All tilings: what is wasted on a small result shows in its estimate."""
        return TILINGS

    def estimate(self, point: Tiling) -> float:
        """Seconds: tiles at the rate of multiplying, of reading operands, or of waiting for them."""
        source = self.source
        m, n, k, batches = nominal(source.m), nominal(source.n), nominal(source.k), batch(source.batch)
        down, across = math.ceil(m / point.rows), math.ceil(n / point.columns)
        moved = 4.0 * sum(volume(tensor.shape) for tensor in (*source.params, *source.outputs))
        of_a, of_b = self._fetched
        loaded = batches * k * (across * m * of_a + down * n * of_b)
        return tiled_seconds(self.machine, point, self.instruction, batches * down * across, k, moved, loaded)

    def build(self, point: Tiling) -> Implementation:
        """The code."""
        return Implementation(write(self.source, point, self.instruction, self._layout), self.source.packings)

    @cached_property
    def _fetched(self) -> tuple[float, float]:
        """Bytes that come from memory for an element of either factor."""
        source, layout = self.source, self._layout
        return fetched(source.a, layout.a, self.machine), fetched(source.b, layout.b, self.machine)

    @cached_property
    def _layout(self) -> Layout:
        """Neighbouring threads load neighbours in memory."""
        return Layout(self._best(self.source.a), self._best(self.source.b))

    def _best(self, factor: Factor) -> Loading:
        """The way to load a factor by which least is fetched."""
        ways = Loading.ways(factor, self.source.params)
        return min(ways, key=lambda way: fetched(factor, way, self.machine)) if len(ways) > 1 else ways[0]
