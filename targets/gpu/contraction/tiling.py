"""The points of a contraction's design space."""

from __future__ import annotations

from dataclasses import dataclass

from tvm import tirx
from tvm.ir import Expr

VECTOR = 4
"""Elements that a thread loads from shared memory, and stores, at once: 16 bytes of float32."""
STAGES = 2
"""Tiles of each operand in shared memory: one is multiplied while the next is written."""


@dataclass(frozen=True)
class Tiling:
    """The tile of the result that a block computes, and the one that each of its threads does."""

    rows: int
    columns: int
    depth: int
    """Of a step: what is in shared memory at once."""
    thread_rows: int
    thread_columns: int
    slices: int = 1
    """Parts of a step's depth that groups of threads multiply, each for itself: their sums are added at last. So steps
    are few, where there are few blocks to hide how long each takes."""
    strided: bool = False
    """Whether neighbouring threads have neighbouring rows, not each thread its own: where what they store of a row is
    less than a piece of memory, of which the next row has the rest."""

    @property
    def threads_down(self) -> int:
        """Threads that share a column of the tile."""
        return self.rows // self.thread_rows

    @property
    def threads_across(self) -> int:
        """Threads that share a row of the tile."""
        return self.columns // self.thread_columns

    @property
    def threads(self) -> int:
        """Of a block."""
        return self.slice_threads * self.slices

    @property
    def slice_threads(self) -> int:
        """Of a block, that compute a tile."""
        return self.threads_down * self.threads_across

    @property
    def row_stride(self) -> int:
        """Of the left tile in shared memory, ``[depth][rows]``: threads that write neighbours in depth go to different
        banks."""
        return self.rows + VECTOR

    @property
    def column_stride(self) -> int:
        """Of the right tile, ``[depth][columns]``."""
        return self.columns + VECTOR

    @property
    def shared_bytes(self) -> int:
        """Of a block, at most: TVM may give sums that are handed on the place of a tile, which nobody reads by then."""
        return STAGES * self.depth * (self.row_stride + self.column_stride) * 4 + self.exchanged * 4

    @property
    def exchanged(self) -> int:
        """Sums that threads hand on by way of shared memory at once: a row of each."""
        return self.slices * self.threads_down * self.columns

    @property
    def registers(self) -> int:
        """Of a thread, about: sums, operands, what is loaded for the next step, addresses."""
        sums = self.thread_rows * self.thread_columns
        loaded = self.depth * (self.rows + self.columns) // self.threads
        return sums + self.thread_rows + self.thread_columns + loaded + 36

    def row(self, down: Expr, i: Expr) -> Expr:
        """Which row of the tile is the `i`-th of threads that are so far `down`."""
        return i * self.threads_down + down if self.strided else self.place(down, i)

    def row_place(self, row: Expr) -> Expr:
        """Where a row of the left tile is in shared memory."""
        if not self.strided:
            return row
        return self.place(tirx.floormod(row, self.threads_down), tirx.floordiv(row, self.threads_down))

    def place(self, down: Expr, i: Expr) -> Expr:
        """Where the `i`-th row of threads that are so far `down` is in shared memory: in vectors, as it is read."""
        return tirx.floordiv(i, VECTOR) * (self.threads_down * VECTOR) + down * VECTOR + tirx.floormod(i, VECTOR)


TILINGS = (
    Tiling(128, 128, 8, 8, 8),
    Tiling(64, 128, 8, 8, 8),
    Tiling(128, 64, 8, 8, 8),
    Tiling(64, 64, 8, 4, 8),
    Tiling(64, 32, 16, 4, 4),
    Tiling(32, 64, 16, 4, 4),
    Tiling(64, 64, 16, 8, 4),
    Tiling(32, 32, 16, 4, 4),
    Tiling(32, 32, 32, 4, 4),
    Tiling(16, 64, 16, 4, 4),
    Tiling(16, 128, 8, 4, 4),
    Tiling(32, 32, 64, 4, 4, slices=4),
    Tiling(16, 64, 64, 4, 4, slices=4),
    Tiling(16, 32, 64, 4, 4, slices=4),
    Tiling(16, 16, 64, 4, 4, slices=4),
    Tiling(16, 16, 128, 4, 4, slices=8),
)
"""Every block has whole warps, and loads of both operands are shared out evenly."""
DEEP = (Tiling(16, 16, 192, 4, 4, slices=12),)
"""The same, where a block may have 64 KB of shared memory: a small result of a long depth takes fewer steps yet."""
