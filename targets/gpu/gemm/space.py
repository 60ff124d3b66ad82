"""The tilings of a matrix product, and the time each is expected to take."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from tvm import te, tirx

from dsc.lower.nominal import batch, nominal
from dsc.targets.cpu.gemm.product import Product
from dsc.targets.gpu.estimate import tiled_seconds
from dsc.targets.gpu.gemm.code import Layout, write
from dsc.targets.gpu.gemm.tiling import TILINGS, Tiling
from dsc.targets.gpu.machine import Gpu
from dsc.targets.gpu.strides import steps
from dsc.targets.kernel import Implementation, Rearrange
from dsc.targets.machine import MultiplyAdd


@dataclass(frozen=True, eq=False)
class GemmSpace:
    """Tiles of blocks and of threads."""

    source: Product
    machine: Gpu
    instruction: MultiplyAdd

    def points(self) -> Sequence[Tiling]:
        """All tilings; those far larger than the product are no faster than smaller ones."""
        return TILINGS

    def estimate(self, point: Tiling) -> float:
        """Seconds: tiles at the rate of multiplying, reading operands, or waiting for them."""
        m, n, k, batches = self._sizes
        down, across = math.ceil(m / point.rows), math.ceil(n / point.columns)
        moved = 4.0 * batches * (m * k + k * n + m * n)
        through_l2 = 4.0 * batches * k * (across * m + down * n)
        return tiled_seconds(self.machine, point, self.instruction, batches * down * across, k, moved, through_l2)

    @property
    def _sizes(self) -> tuple[int, int, int, int]:
        source = self.source
        return nominal(source.m), nominal(source.n), nominal(source.k), batch(source.batch)

    def build(self, point: Tiling) -> Implementation:
        """The code; a weight that lies by columns is turned when the artifact is written."""
        source = self.source
        func = write(source, point, self.instruction, self._layout)
        if not self._layout.turned:
            return Implementation(func)
        assert source.weight is not None
        weight = source.params[source.weight]
        n, k = (int(size) for size in weight.shape)
        return Implementation(func, {source.weight: Rearrange((0, 0), (k, n), (0, 1), before=(1, 0))})

    @cached_property
    def _layout(self) -> Layout:
        source = self.source
        turned = source.weight is not None and source.transposed_weight
        return Layout(
            self._by_depth(source.a, len(source.a.shape) - 1),
            not turned and self._by_depth(source.b, len(source.b.shape) - 2),
            turned,
        )

    def _by_depth(self, operand: te.Tensor, axis: int) -> bool:
        """Whether elements of an operand are neighbours in memory along its depth."""
        at = [tirx.Var(f"i{a}", str(tirx.convert(size).ty)) for a, size in enumerate(operand.shape)]
        return 1 in steps(operand, at, self.source.params, at[axis])
