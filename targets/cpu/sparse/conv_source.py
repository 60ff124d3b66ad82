"""Filling the scratch of a sparse convolution: channels are turned out of their blocks, rows get their padding."""

from __future__ import annotations

from functools import partial

from tvm import tirx
from tvm.ir import Expr
from tvm.tirx.script.builder import ir as T

from dsc.lower.exprs import Dim, ceildiv, product
from dsc.targets.cpu.conv.elements import Elements
from dsc.targets.cpu.sparse.panel import turn_into
from dsc.targets.cpu.sparse.plane import Columns, Plane
from dsc.targets.tir.loops import Loops, spread


class Source:
    """The input, NCHW or NCHW[c], and the scratch of a task as one long array."""

    def __init__(self, plane: Plane, x: tirx.Buffer, elements: Elements, square: int, columns: int) -> None:
        """Declares the view in the current frame.

        elements: how those of the input are multiplied. square: pixels and channels that are turned together.
        columns: of a tile, which may read so far beyond the last pixel.
        """
        conv = plane.conv
        self.plane, self.conv, self.elements, self.square, self.loops = plane, conv, elements, square, Loops()
        self.size = conv.c * plane.size + columns
        self.view = T.decl_buffer((product((conv.n, conv.c, conv.h, conv.w)),), x.dtype, data=x.data)
        """As one long array."""

    def fill(self, scratch: tirx.Buffer, n: Expr, first_row: Expr) -> None:
        """Everything that the strip from `first_row` of the result on reads."""
        conv, loops = self.conv, self.loops
        step = self.square if self.turns else 1
        with loops.each(conv.c // step) as part:
            channel = T.Bind(part * step)
            for index, (down, right) in enumerate(self.plane.phases):
                target = T.Bind(channel * self.plane.size + self.plane.start(index))
                if self.plane.seamless:
                    self._seamless(scratch, n, channel, first_row, target)
                    continue
                with loops.each(self.plane.lines) as line:
                    row = T.Bind((first_row + line) * conv.strides[0] + (down - conv.pads.top))
                    self._row(scratch, n, channel, row, T.Bind(target + line * self.plane.pitch), right)
        # what lies after the last pixel is multiplied like any other, and thrown away: no slow or odd numbers there
        end = conv.c * self.plane.size
        self._zero(scratch, loops.const(end), self.size - end)

    @property
    def turns(self) -> bool:
        """Whether channels lie side by side, in blocks of whole vectors."""
        return self.conv.block % self.square == 0

    def _seamless(self, scratch: tirx.Buffer, n: Expr, channel: Expr, first_row: Expr, target: Expr) -> None:
        """All rows of a strip at once: their pixels are consecutive in the image, too."""
        width = int(self.conv.w)
        whole = int(self.conv.h) % self.plane.rows == 0
        rows: Dim = self.plane.rows if whole else tirx.min(self.plane.rows, int(self.conv.h) - first_row)
        self._copy(scratch, self._pixel(n, channel, first_row, 0), target, rows * width, 1)

    def _row(self, scratch: tirx.Buffer, n: Expr, channel: Expr, row: Expr, target: Expr, phase: int) -> None:
        """One row of a phase, for as many channels as are turned together."""
        columns, pitch = self.plane.columns(phase), self.plane.pitch
        inside = tirx.all(row >= 0, row < self.conv.h)
        with T.If(inside):
            with T.Then():
                self._padding(scratch, target, 0, columns.begin)
                self._copy_row(scratch, self._pixel(n, channel, row, columns.first), target, columns)
                self._padding(scratch, target, columns.end, pitch)
            with T.Else():
                self._padding(scratch, target, 0, pitch)

    def _copy_row(self, scratch: tirx.Buffer, source: Expr, target: Expr, columns: Columns) -> None:
        if columns.end > columns.begin:
            count = columns.end - columns.begin
            self._copy(scratch, source, target + columns.begin, count, self.conv.strides[1])

    def _copy(self, scratch: tirx.Buffer, source: Expr, target: Expr, count: Dim, stride: int) -> None:
        """`count` pixels, each a stride from the one before it, from element `source` on.

        Where channels are turned, so many are written that they fill vectors: what comes after is written later.
        """
        loops, square, size = self.loops, self.square, self.plane.size
        step = stride * self.conv.block
        if not self.turns:
            with loops.each(count) as i:
                T.buffer_store(scratch, self.elements.of(self.view[source + i * step]), [target + i])
            return
        last = loops.const(count) - 1
        with loops.each(ceildiv(count, square)) as tile:
            first = T.Bind(tile * square)
            starts = [T.Bind(source + tirx.min(first + i, last) * step) for i in range(square)]
            vectors = [self.elements.of(self.view[loops.span(start, square)]) for start in starts]
            turn_into(scratch, partial(_place, T.Bind(target + first), size), vectors, loops)

    def _pixel(self, n: Expr, channel: Expr, row: Expr, column: int) -> Expr:
        """Where the element of a channel, and of those after it in its block, is in the tensor."""
        conv = self.conv
        block, lane = tirx.floordiv(channel, conv.block), tirx.floormod(channel, conv.block)
        return T.Bind((((n * (conv.c // conv.block) + block) * conv.h + row) * conv.w + column) * conv.block + lane)

    def _padding(self, scratch: tirx.Buffer, target: Expr, begin: int, end: int) -> None:
        if begin >= end:
            return
        with self.loops.each(self.square if self.turns else 1) as channel:
            self._zero(scratch, target + channel * self.plane.size + begin, end - begin)

    def _zero(self, scratch: tirx.Buffer, start: Expr, count: int) -> None:
        zero, done = self.elements.padding, count // self.square * self.square
        if done:
            with self.loops.each(done // self.square) as i:
                at = self.loops.span(start + i * self.square, self.square)
                T.buffer_store(scratch, spread(zero, self.square), [at])
        for i in range(done, count):
            T.buffer_store(scratch, zero, [start + i])


def _place(target: Expr, size: int, i: int) -> Expr:
    """Where the pixels of channel `i` go."""
    return target + i * size
