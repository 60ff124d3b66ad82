"""Where a convolution reads its input: the tensor itself, or rows of it copied into scratch with their padding."""

from __future__ import annotations

from dataclasses import dataclass

from tvm import tirx
from tvm.ir import Expr
from tvm.tirx.script.builder import ir as T

from dsc.lower.exprs import Dim, ceildiv, product
from dsc.targets.cpu.conv.elements import Elements
from dsc.targets.cpu.conv.problem import Convolution
from dsc.targets.tir.loops import Loops, spread, when


@dataclass(frozen=True)
class Rows:
    """The rows of the input that a task reads: those of the tensor, or its scratch."""

    conv: Convolution
    buffer: tirx.Buffer
    """Five axes; four where it is scratch, whose image is the task's; rows and their elements where those are runs."""
    first: tuple[Expr, Expr, Expr] | None
    """Where the task begins in the tensor: image, channel block, row of the result; None for scratch."""
    one_row: bool
    elements: Elements | None
    """How those of the tensor are multiplied; None for scratch, where they are so already."""

    def element(self, block: Expr, c: Expr, row: Expr, kh: Expr, column: Expr) -> Expr:
        """Channel `c` of the task's block `block`, under its row `row` of the result and kernel row `kh`.

        `column` is a column of the padded input. In a run, `c` counts on into the columns that follow.
        """
        stride, dilation = self.conv.strides[0], self.conv.dilations[0]
        if self.conv.run:
            return self.buffer[row * stride + kh * dilation, column * self.conv.c + c]
        if self.first is None:
            return self.buffer[block, row * stride + kh * dilation, column, c]
        n, first_block, first_row = self.first
        line = 0 if self.one_row else (first_row + row) * stride + kh * dilation
        value = self.buffer[n, first_block + block, line, column, c]
        return value if self.elements is None else self.elements.of(value)


class Source:
    """The input, seen as [N, C/b, rows, columns, b], whatever its layout.

    With padding, the rows a task needs are first copied to scratch, so that no inner loop has a branch.
    """

    def __init__(
        self,
        conv: Convolution,
        buffer: tirx.Buffer,
        rows: int,
        blocks: int,
        elements: Elements,
        one_row: bool = False,
    ) -> None:
        """Declares the view in the current frame.

        rows, blocks: rows of the result that one task computes at most, and channel blocks that it reads.
        elements: how those of the input are multiplied.
        one_row: whether an image is one long row, of which the caller gives positions; then nothing is padded.
        """
        self.conv, self.loops, self.rows, self.blocks, self.one_row = conv, Loops(), rows, blocks, one_row
        self.elements = elements
        self.plain = buffer
        image = (1, product((conv.h, conv.w))) if one_row else (conv.h, conv.w)
        shape = (conv.n, conv.c // conv.block, *image, conv.block)
        is_plain = conv.block > 1 and len(buffer.shape) == 4
        self.interleaves = is_plain and (product(buffer.shape[2:]) != 1 or int(buffer.shape[1]) != conv.c)
        """Whether the tensor is plain, and its channels are brought side by side in scratch, with zeros beyond them."""
        if not self.interleaves:
            self.view: tirx.Buffer = T.decl_buffer(shape, buffer.dtype, data=buffer.data)

    def input_rows(self, rows: Dim) -> Dim:
        """Rows of the input under so many rows of the result."""
        kernel, stride, dilation = (pair[0] for pair in (self.conv.kernel, self.conv.strides, self.conv.dilations))
        return (rows - 1) * stride + (kernel - 1) * dilation + 1

    def prepared(self, n: Expr, first_block: Expr, first_row: Expr, rows: Dim) -> Rows:
        """What a task that computes `rows` rows from `first_row` on reads; scratch is filled where it stands."""
        conv = self.conv
        if not conv.pads and not conv.copied:
            return Rows(conv, self.view, (n, first_block, first_row), self.one_row, self.elements)
        lines, columns = self.input_rows(self.rows), conv.w + conv.pads.left + self._right
        scratch = T.alloc_buffer((self.blocks, lines, columns, conv.block), self.elements.multiplied)
        with self.loops.each(self.blocks) as block:
            exists = None if self._all_inside else first_block + block < conv.c // conv.block
            with when(exists), self.loops.each(self.input_rows(rows)) as r:
                self._fill(scratch, n, first_block, block, first_row * conv.strides[0] + r - conv.pads.top, r)
        if conv.run:
            scratch = T.decl_buffer((lines, columns * conv.c), scratch.dtype, data=scratch.data)
        return Rows(conv, scratch, None, self.one_row, None)

    @property
    def _right(self) -> int:
        """Pixels to the right of the image in scratch: padding, and what the last run of a row reads beyond it."""
        return self.conv.pads.right + ceildiv(self.conv.beyond, self.conv.block)

    @property
    def _all_inside(self) -> bool:
        """Whether all blocks of all tasks exist: the last group's do, which begin last."""
        conv = self.conv
        return (conv.c - conv.c // conv.groups) // conv.block + self.blocks <= conv.c // conv.block

    def _fill(self, scratch: tirx.Buffer, n: Expr, first_block: Expr, block: Expr, line: Expr, r: Expr) -> None:
        """Row `r` of a block of scratch: row `line` of the image between its padding, or zeros."""
        conv, pads, lanes = self.conv, self.conv.pads, self.loops.span(0, self.conv.block)
        with T.If(tirx.all(line >= 0, line < conv.h)):
            with T.Then():
                self._zero(scratch, block, r, 0, pads.left)
                if self.interleaves:
                    self._interleave(scratch, n, line, r)
                else:
                    with self.loops.each(conv.w) as w:
                        value = self.elements.of(self.view[n, first_block + block, line, w, lanes])
                        T.buffer_store(scratch, value, [block, r, w + pads.left, lanes])
                self._zero(scratch, block, r, conv.w + pads.left, self._right)
            with T.Else():
                self._zero(scratch, block, r, 0, conv.w + pads.left + self._right)

    def _zero(self, scratch: tirx.Buffer, block: Expr, r: Expr, start: Dim, columns: Dim) -> None:
        """Padding: `columns` columns of a row of scratch."""
        if isinstance(columns, int) and columns == 0:
            return
        lanes = self.loops.span(0, self.conv.block)
        with self.loops.each(columns) as w:
            T.buffer_store(scratch, spread(self.elements.padding, self.conv.block), [block, r, start + w, lanes])

    def _interleave(self, scratch: tirx.Buffer, n: Expr, line: Expr, r: Expr) -> None:
        """Brings the channels of a plain row side by side."""
        own, zero = int(self.plain.shape[1]), tirx.const(0, self.elements.multiplied)
        with self.loops.each(self.conv.w) as w:
            for c in range(self.conv.c):
                value = self.elements.of(self.plain[n, c, line, w]) if c < own else zero
                T.buffer_store(scratch, value, [0, r, w + self.conv.pads.left, c])

    def above(self, n: Expr, block: Expr, c: Expr, row: Expr, kh: int, pad: int, column: Expr) -> Expr:
        """Elements `c` of `block` straight from the tensor: under row `row` of the result and kernel row `kh`.

        `pad` rows of padding lie above the image; the caller has made sure that the element is none of them.
        """
        line = row * self.conv.strides[0] + (kh * self.conv.dilations[0] - pad)
        return self.elements.of(self.view[n, block, line, column, c])
