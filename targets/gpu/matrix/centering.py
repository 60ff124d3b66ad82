"""What zero points take off of the sums of products of bytes: see `dsc.targets.gpu.contraction.zero_points`.

The sums of rows and of columns that this needs are products as well, by a matrix of ones: each of their fragments has,
in the registers of a lane, the sum of the row, or of the column, of what the lane has there of the product itself. So
nothing needs to be known of where that is. Where all zero points of a warp's rows or columns turn out to be 0, as those
of most weights are, they are left out.
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
from dsc.targets.gpu.matrix.tiling import Centered, Tiling
from dsc.targets.gpu.tile import unrolled
from dsc.targets.tir.loops import Loops, when

ONES = 0x01010101
WIDE = "int64"
"""Products and sums in 32 bits that do not fit are what is left of these."""


def centered(left: Side, right: Side) -> Centered:
    """The sums of lines that the zero points of two factors ask for."""
    return Centered(rows=right.is_centered, columns=left.is_centered)


@dataclass(frozen=True)
class Asked:
    """Sums of lines, and whether they are asked for."""

    sums: tirx.Buffer
    origins: tirx.Buffer
    """One number, 0 where what they are multiplied by is 0."""

    @property
    def condition(self) -> Expr:
        return tirx.NE(self.origins[0], tirx.const(0, "int32"))


class LineSums:
    """The sums of a warp's rows of the left factor, and of its columns of the right one, in registers."""

    def __init__(self, fragments: Fragments, down: int, across: int, rows: Asked | None, columns: Asked | None) -> None:
        """down, across: fragments of the warp's part of the result: rows have as many sums as the former, columns as
        the latter. None where they are not asked for whatever zero points are."""
        self.fragments, self.down, self.across, self.rows, self.columns = fragments, down, across, rows, columns
        if rows is not None or columns is not None:
            self.ones = T.alloc_buffer((fragments.words,), fragments.word, scope="local")
            ones = tirx.reinterpret(fragments.word, tirx.const(ONES, "uint32"))
            with unrolled(fragments.words) as i:
                T.buffer_store(self.ones, ones, [i])

    def add_row(self, i: Expr, a: tirx.Buffer, a_at: Expr) -> None:
        """A fragment of the left factor, to the i-th from above."""
        if self.rows is not None:
            with when(self.rows.condition):
                at, none = i * self.fragments.sums, tirx.const(0, "int32")
                self.fragments.multiply(self.rows.sums, at, a, a_at, self.ones, none)

    def add_column(self, j: Expr, b: tirx.Buffer, b_at: Expr) -> None:
        """A fragment of the right factor, to the j-th from the left."""
        if self.columns is not None:
            with when(self.columns.condition):
                at, none = j * self.fragments.sums, tirx.const(0, "int32")
                self.fragments.multiply(self.columns.sums, at, self.ones, none, b, b_at)


@dataclass(frozen=True)
class Centering:
    """Takes off what zero points of either side do."""

    left: Side
    right: Side
    elements: Elements
    loops: Loops

    def sums(self, tiling: Tiling, fragments: Fragments, at: WarpTile) -> LineSums:
        """The sums of lines that a warp is to add up, all 0."""
        down, across = tiling.warp_rows // fragments.rows, tiling.warp_columns // fragments.columns
        which = centered(self.left, self.right)
        columns = self._origins(self.left, at, at.row, tiling.warp_rows) if which.columns else None
        rows = self._origins(self.right, at, at.column, tiling.warp_columns) if which.rows else None
        asked = self._asked(fragments, down, rows), self._asked(fragments, across, columns)
        return LineSums(fragments, down, across, *asked)

    def _origins(self, side: Side, at: WarpTile, first: Expr, count: int) -> tirx.Buffer:
        """A number that is 0 if what is taken off of so many lines is."""
        found = T.alloc_buffer((1,), "int32", scope="local")
        T.buffer_store(found, tirx.const(0, "int32"), [0])
        with self.loops.each(count if side.origins_differ else 1) as line, self.elements.scope():
            T.buffer_store(found, tirx.bitwise_or(found[0], self._origin(side, at, first + line)), [0])
        return found

    def _asked(self, fragments: Fragments, count: int, origins: tirx.Buffer | None) -> Asked | None:
        """Sums for so many fragments of lines, if these have origins."""
        if origins is None:
            return None
        sums = T.alloc_buffer((count * fragments.sums,), fragments.accumulator, scope="local")
        with unrolled(count * fragments.sums) as i:
            T.buffer_store(sums, tirx.const(0, fragments.accumulator), [i])
        return Asked(sums, origins)

    def apply(self, sums: tirx.Buffer, lines: LineSums, at: WarpTile, depth: Dim) -> None:
        """To the sums of a warp's part of the result. depth: steps that were multiplied; those beyond the factors' are
        of zero points, too."""
        if lines.rows is None and lines.columns is None:
            return
        fragments = lines.fragments
        with unrolled(lines.down) as i, unrolled(lines.across) as j:
            for register in range(fragments.sums):
                row, column = fragments.position(at.lane, register)
                with self.elements.scope():
                    left = self._origin(self.left, at, at.row + i * fragments.rows + row).astype(WIDE)
                    right = self._origin(self.right, at, at.column + j * fragments.columns + column).astype(WIDE)
                place = (i * lines.across + j) * fragments.sums + register
                total = sums[place].astype(WIDE)
                if lines.columns is not None:
                    total = total - left * lines.columns.sums[j * fragments.sums + register].astype(WIDE)
                if lines.rows is not None:
                    total = total - right * lines.rows.sums[i * fragments.sums + register].astype(WIDE)
                if lines.rows is not None and lines.columns is not None:
                    total = total + left * right * tirx.Cast(WIDE, self.loops.const(depth))
                T.buffer_store(sums, total.astype(fragments.accumulator), [place])

    def _origin(self, side: Side, at: WarpTile, line: Expr) -> Expr:
        """What is taken off of a line, or of the last one for those beyond it."""
        if not side.is_centered:
            return tirx.const(0, "int32")
        bounded = T.Bind(tirx.min(line, self.loops.const(side.extent) - 1))
        return side.origin_at(self.elements, [*at.batch, *self.loops.unravel(bounded, side.lines)])
