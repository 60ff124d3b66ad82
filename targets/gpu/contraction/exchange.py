"""Sums of a tile from the threads that multiplied to those that store them, by way of shared memory."""

from __future__ import annotations

from tvm import tirx
from tvm.ir import Expr
from tvm.tirx.script.builder import ir as T

from dsc.targets.gpu.contraction.tiling import VECTOR, Tiling
from dsc.targets.gpu.tile import RegisterTile, unrolled
from dsc.targets.tir.loops import Loops


class Exchange:
    """``[slices][threads down][columns]``: a row of every thread's tile at a time, the parts of the depth apart."""

    def __init__(self, tiling: Tiling, loops: Loops, dtype: str) -> None:
        """Allocates the memory in the current frame. dtype: of the sums."""
        self._tiling, self._loops, self._dtype = tiling, loops, dtype
        self._shared: tirx.Buffer = T.alloc_buffer((tiling.exchanged,), dtype, scope="shared")

    def put(self, slice_: Expr, down: Expr, across: Expr, tile: RegisterTile, i: Expr) -> None:
        """Row `i` of the tile of the thread that is there. Threads meet before it is read, and before the next one."""
        tiling, span = self._tiling, self._loops.span
        line = (slice_ * tiling.threads_down + down) * tiling.columns
        with unrolled(tile.columns // VECTOR) as group:
            start = line + (group * tiling.threads_across + across) * VECTOR
            own = tile.sums[span(i * tile.columns + group * VECTOR, VECTOR)]
            T.buffer_store(self._shared, own, [span(start, VECTOR)])

    def sums(self, down: Expr, column: Expr, count: int) -> tirx.Buffer:
        """Of `count` neighbours from a column of the tile on, in registers: all parts, always added in one order."""
        tiling, span = self._tiling, self._loops.span
        found: tirx.Buffer = T.alloc_buffer((count,), self._dtype, scope="local")
        own = [Loops().span(0, count)]
        for slice_ in range(tiling.slices):
            start = (slice_ * tiling.threads_down + down) * tiling.columns + column
            part = self._shared[span(start, count)]
            T.buffer_store(found, part if slice_ == 0 else found[own[0]] + part, own)
        return found
