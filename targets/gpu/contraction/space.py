"""The tilings of a contraction, and the time each is expected to take."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from tvm import tirx
from tvm.ir import Expr

from dsc.lower.nominal import batch, nominal, volume
from dsc.targets.gpu.contraction.code import Layout, write
from dsc.targets.gpu.contraction.source import Contraction
from dsc.targets.gpu.contraction.tiling import TILINGS, Tiling
from dsc.targets.gpu.estimate import tiled_seconds
from dsc.targets.gpu.machine import Gpu
from dsc.targets.gpu.strides import steps
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
        loaded = 4.0 * batches * k * (across * m + down * n)
        return tiled_seconds(self.machine, point, self.instruction, batches * down * across, k, moved, loaded)

    def build(self, point: Tiling) -> Implementation:
        """The code."""
        return Implementation(write(self.source, point, self.instruction, self._layout))

    @cached_property
    def _layout(self) -> Layout:
        """Neighbours in depth are loaded together only where there are none from row to row, or column to column."""
        source, axes = self.source, self.source.acc.op.axis
        rows, columns = axes[source.split[0] : source.split[1]], axes[source.split[1] :]
        return Layout(
            not self._neighbours(source.a, rows) and self._neighbours(source.a, source.acc.op.reduce_axis),
            not self._neighbours(source.b, columns) and self._neighbours(source.b, source.acc.op.reduce_axis),
        )

    def _neighbours(self, operand: Expr, axes: Sequence[tirx.IterVar]) -> bool:
        """Whether elements of an operand lie side by side along some axes, the last of which varies fastest."""
        return 1 in steps(self.source.acc.op, operand, self.source.params, _last(axes))


def _last(axes: Sequence[tirx.IterVar]) -> tirx.Var:
    """The innermost axis that has more than one element, which neighbours differ in; else the innermost."""
    several = [axis for axis in axes if nominal(axis.dom.extent) > 1]
    return (several or list(axes))[-1].var
