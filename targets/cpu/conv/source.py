"""Where a convolution reads its input: the tensor itself, or rows of it copied into scratch with their padding."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from tvm import tirx
from tvm.ir import Expr

from dsc.targets.cpu.conv.emit import Dim, Stmt, index, loop, product, seq, when
from dsc.targets.cpu.conv.problem import Convolution


@dataclass(frozen=True)
class Source:
    """Reads scalars of the input by the position of the result they are multiplied into.

    The input is seen as [N, C/b, rows, columns, b], whatever its layout. With padding, the rows a task needs are first
    copied to scratch, so that no inner loop has a branch.
    """

    conv: Convolution
    buffer: tirx.Buffer
    rows: int
    """Rows of the result that one task computes at most."""
    blocks: int
    """Channel blocks that one task reads."""
    one_row: bool = False
    """Whether an image is one long row, of which the caller gives positions; then nothing is padded."""

    @cached_property
    def view(self) -> tirx.Buffer:
        """The input with five axes."""
        conv = self.conv
        image = (1, product(conv.h, conv.w)) if self.one_row else (conv.h, conv.w)
        shape = (conv.n, conv.c // conv.block, *image, conv.block)
        return tirx.decl_buffer(shape, "float32", "x", data=self.buffer.data)

    @cached_property
    def scratch(self) -> tirx.Buffer | None:
        """The padded rows of one task; None where nothing is padded."""
        conv = self.conv
        if not conv.pads:
            return None
        columns = conv.w + conv.pads.left + conv.pads.right
        return tirx.decl_buffer((self.blocks, self.input_rows(self.rows), columns, conv.block), "float32", "rows")

    def input_rows(self, rows: Dim) -> Dim:
        """Rows of the input under so many rows of the result."""
        kernel, stride, dilation = (pair[0] for pair in (self.conv.kernel, self.conv.strides, self.conv.dilations))
        return (rows - 1) * stride + (kernel - 1) * dilation + 1

    def declare(self) -> Stmt:
        """What stands before the tasks."""
        return tirx.DeclBuffer(self.view, data=self.buffer.data)

    def prepare(self, n: Expr, first_block: Expr, first_row: Expr, rows: Dim) -> Stmt | None:
        """What stands at the beginning of a task that computes `rows` rows from `first_row` on."""
        scratch = self.scratch
        if scratch is None:
            return None
        conv, pads = self.conv, self.conv.pads

        def fill(block: Expr) -> Stmt:
            def row(r: Expr) -> Stmt:
                source = first_row * conv.strides[0] + r - pads.top
                copied = seq(
                    self._zero(block, r, 0, pads.left),
                    loop(conv.w, lambda w: self._copy(n, first_block, block, source, r, w)),
                    self._zero(block, r, conv.w + pads.left, pads.right),
                )
                inside = tirx.all(source >= 0, source < conv.h)
                return seq(when(inside, copied, self._zero(block, r, 0, conv.w + pads.left + pads.right)))

            body = loop(self.input_rows(rows), row, "r")
            return body if self._all_inside else seq(when(first_block + block < conv.c // conv.block, body))

        return seq(tirx.AllocBuffer(scratch), loop(self.blocks, fill, "cb"))

    @property
    def _all_inside(self) -> bool:
        """Whether all blocks of all tasks exist: the last group's do, which begin last."""
        conv = self.conv
        return (conv.c - conv.c // conv.groups) // conv.block + self.blocks <= conv.c // conv.block

    def _copy(self, n: Expr, first_block: Expr, block: Expr, source: Expr, r: Expr, w: Expr) -> Stmt:
        def channel(c: Expr) -> Stmt:
            value = tirx.BufferLoad(self.view, [n, first_block + block, source, w, c])
            return tirx.BufferStore(self.scratch, value, [block, r, w + self.conv.pads.left, c])

        return loop(self.conv.block, channel, "c", tirx.ForKind.VECTORIZED)

    def _zero(self, block: Expr, r: Expr, start: Dim, columns: Dim) -> Stmt | None:
        if isinstance(columns, int) and columns == 0:
            return None

        def column(w: Expr) -> Stmt:
            def channel(c: Expr) -> Stmt:
                return tirx.BufferStore(self.scratch, tirx.FloatImm("float32", 0.0), [block, r, start + w, c])

            return loop(self.conv.block, channel, "c", tirx.ForKind.VECTORIZED)

        return loop(columns, column, "w")

    def scalar(
        self,
        n: Expr,
        first_block: Expr,
        block: Expr,
        c: Expr,
        first_row: Expr,
        row: Expr,
        kh: Expr,
        column: Expr,
    ) -> Expr:
        """One element: channel `c` of block ``first_block + block``, under row ``first_row + row`` and kernel row `kh`.

        `column` is a column of the padded input.
        """
        conv = self.conv
        if self.scratch is not None:
            line = row * conv.strides[0] + kh * conv.dilations[0]
            return tirx.BufferLoad(self.scratch, [block, line, column, c])
        line = index(0) if self.one_row else (first_row + row) * conv.strides[0] + kh * conv.dilations[0]
        return tirx.BufferLoad(self.view, [n, first_block + block, line, column, c])

    def above(self, n: Expr, block: Expr, c: Expr, row: Expr, kh: Dim, pad: int, column: Expr) -> Expr:
        """Elements `c` of `block` straight from the tensor: under row `row` of the result and kernel row `kh`.

        `pad` rows of padding lie above the image; the caller has made sure that the element is none of them.
        """
        line = row * self.conv.strides[0] + (kh * self.conv.dilations[0] - pad)
        return tirx.BufferLoad(self.view, [n, block, line, column, c])
