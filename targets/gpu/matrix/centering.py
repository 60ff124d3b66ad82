"""What zero points take off of the sums of products of bytes: see `dsc.targets.gpu.contraction.zero_points`.

The sums of rows and of columns that this needs are products as well, by a matrix of ones: each of their fragments has,
in the registers of a lane, the sum of the row, or of the column, of what the lane has there of the product itself. So
nothing needs to be known of where that is.
"""

from __future__ import annotations

from dataclasses import dataclass

from tvm import tirx
from tvm.ir import Expr
from tvm.tirx.script.builder import ir as T

from dsc.lower.exprs import Dim
from dsc.targets.gpu.elements import Elements
from dsc.targets.gpu.matrix.fragments import Fragments
from dsc.targets.gpu.matrix.results import WarpTile
from dsc.targets.gpu.matrix.side import Side
from dsc.targets.gpu.matrix.tiling import Centered
from dsc.targets.gpu.tile import unrolled
from dsc.targets.tir.loops import Loops

ONES = 0x01010101
WIDE = "int64"
"""Products and sums in 32 bits that do not fit are what is left of these."""


def centered(left: Side, right: Side) -> Centered:
    """The sums that the zero points of two factors ask for."""
    return Centered(rows=right.is_centered, columns=left.is_centered)


class LineSums:
    """The sums of a warp's rows of the left factor, and of its columns of the right one, in registers."""

    def __init__(self, which: Centered, fragments: Fragments, down: int, across: int) -> None:
        """down, across: fragments of the warp's part of the result."""
        self.fragments = fragments
        self.rows = self._cleared(down) if which.rows else None
        self.columns = self._cleared(across) if which.columns else None
        if which.rows or which.columns:
            self.ones = T.alloc_buffer((fragments.words,), fragments.word, scope="local")
            ones = tirx.reinterpret(fragments.word, tirx.const(ONES, "uint32"))
            with unrolled(fragments.words) as i:
                T.buffer_store(self.ones, ones, [i])

    def _cleared(self, count: int) -> tirx.Buffer:
        """The sums of so many fragments, all 0."""
        sums = T.alloc_buffer((count * self.fragments.sums,), self.fragments.accumulator, scope="local")
        with unrolled(count * self.fragments.sums) as i:
            T.buffer_store(sums, tirx.const(0, self.fragments.accumulator), [i])
        return sums

    def add_row(self, i: Expr, a: tirx.Buffer, a_at: Expr) -> None:
        """A fragment of the left factor, to the i-th from above."""
        if self.rows is not None:
            none = tirx.const(0, "int32")
            self.fragments.multiply(self.rows, i * self.fragments.sums, a, a_at, self.ones, none)

    def add_column(self, j: Expr, b: tirx.Buffer, b_at: Expr) -> None:
        """A fragment of the right factor, to the j-th from the left."""
        if self.columns is not None:
            none = tirx.const(0, "int32")
            self.fragments.multiply(self.columns, j * self.fragments.sums, self.ones, none, b, b_at)


@dataclass(frozen=True)
class Centering:
    """Takes off what zero points of either side do."""

    left: Side
    right: Side
    depth: Dim
    """Steps that were multiplied: those beyond the depth are of zero points, too."""
    elements: Elements
    loops: Loops

    def apply(self, sums: tirx.Buffer, lines: LineSums, at: WarpTile, down: int, across: int) -> None:
        """To the sums of `down` times `across` fragments."""
        if lines.rows is None and lines.columns is None:
            return
        fragments = lines.fragments
        with unrolled(down) as i, unrolled(across) as j:
            for register in range(fragments.sums):
                row, column = fragments.position(at.lane, register)
                left = self._origin(self.left, at, at.row + i * fragments.rows + row)
                right = self._origin(self.right, at, at.column + j * fragments.columns + column)
                place = (i * across + j) * fragments.sums + register
                total = sums[place].astype(WIDE)
                if lines.columns is not None:
                    total = total - left * lines.columns[j * fragments.sums + register].astype(WIDE)
                if lines.rows is not None:
                    total = total - right * lines.rows[i * fragments.sums + register].astype(WIDE)
                if lines.rows is not None and lines.columns is not None:
                    total = total + left * right * tirx.Cast(WIDE, self.loops.const(self.depth))
                T.buffer_store(sums, total.astype(fragments.accumulator), [place])

    def _origin(self, side: Side, at: WarpTile, line: Expr) -> Expr:
        """Of a line, or of the last one for those beyond it."""
        if not side.is_centered:
            return tirx.const(0, WIDE)
        bounded = T.Bind(tirx.min(line, self.loops.const(side.extent) - 1))
        return side.origin_at(self.elements, [*at.batch, *self.loops.unravel(bounded, side.lines)]).astype(WIDE)
