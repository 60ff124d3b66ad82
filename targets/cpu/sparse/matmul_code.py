"""The code of a product by a sparse weight: rows of activations are turned once for all panels of a task."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial

from tvm import tirx
from tvm.ir import Expr
from tvm.tirx.script.builder import ir as T

from dsc.lower.exprs import ceildiv, divides, minimum
from dsc.targets.cpu.gemm.code import Writer
from dsc.targets.cpu.gemm.frame import Frame, Packed, Place, Task
from dsc.targets.cpu.gemm.product import Product, reads_rows
from dsc.targets.cpu.gemm.tiling import Tiling
from dsc.targets.cpu.inline import Inliner, Kept
from dsc.targets.cpu.sparse.panel import Finish, Panel, Stream, square_of, turn_into
from dsc.targets.cpu.tile import reinterpreted
from dsc.targets.machine import MultiplyAdd
from dsc.targets.tir.loops import flat, function, when


def write(
    source: Product, tiling: Tiling, instruction: MultiplyAdd, packed: Packed, finishes_first: bool
) -> tirx.PrimFunc:  # fmt: skip
    """The function that computes `source`, whose weight is given as `Entries`.

    tiling: rows are those of activations in a tile, as many as some vectors have lanes; a panel is one vector.
    finishes_first: whether outputs are made before sums are turned, as `makes_bytes` allows for whole chunks of rows.
    """
    with function() as made:
        _Sparse(Frame(source, tiling, instruction, packed), finishes_first).tasks()
    return made.get()


def makes_bytes(source: Product) -> bool:
    """Whether the one output is bytes that are made of sums and of nothing that belongs to a row."""
    output, *others = source.outputs
    return not others and str(output.dtype) in ("int8", "uint8") and not reads_rows(source)


class _Sparse(Writer):
    def __init__(self, frame: Frame, finishes_first: bool) -> None:
        super().__init__(frame)
        self._finishes_first = finishes_first

    def tasks(self) -> None:
        """The whole product: a task is a tile of rows and some panels."""
        tiling, frame, loops = self.tiling, self.frame, self.loops
        strips = ceildiv(frame.panels, tiling.strip)
        kind = T.serial if tiling.axis == "none" else T.parallel
        with loops.each(frame.row_tiles * strips, kind) as task:
            tile, strip = loops.split(task, strips)
            assert self.source.weight is not None
            stream = Stream.of(frame.packed[self.source.weight], self.instruction.k)
            turned_rows = self._turned_rows(T.Bind(tile * tiling.rows), stream.depth)
            finish = self._finish() if self._finishes_first else None
            outputs = Panel(stream, self.instruction, tiling.rows, loops, finish)
            first = strip * tiling.strip
            whole = divides(tiling.strip, frame.panels)
            count = tiling.strip if whole else minimum(tiling.strip, frame.panels - first)
            with loops.each(count) as i:
                place = Place(Task(loops.const(0), [], tile, 1), loops.const(0), T.Bind(first + i))
                outputs.multiply(place.panel, lambda at: turned_rows[at])
                if self._finishes_first:
                    self._written(place, outputs)
                else:
                    self._finished(place, outputs)

    def _turned_rows(self, first: Expr, depth: int) -> tirx.Buffer:
        """The rows of a tile in scratch as one long array: ``[k / depth][rows][depth]``.

        Beyond the last row, and beyond the last input, is that again.
        """
        rows, k, lanes, loops = self.tiling.rows, int(self.source.k), square_of(self.instruction, depth), self.loops
        scratch = flat(T.alloc_buffer((ceildiv(k, depth), rows, depth), self.instruction.a))
        last = loops.const(self.source.m) - 1
        whole = k // depth
        if not self.source.plain_a or whole < lanes:
            self._copied_rows(scratch, first, 0, depth)
            return scratch
        a = self.frame.flat[self.source.a]
        with loops.each(rows // lanes) as part, loops.each(ceildiv(whole, lanes)) as tile:
            row = T.Bind(part * lanes)
            column = loops.bind(minimum(tile * lanes, whole - lanes))  # the last overlaps the one before it
            starts = [T.Bind(tirx.min(first + row + i, last) * k + depth * column) for i in range(lanes)]
            vectors = [a[loops.span(start, depth * lanes)] for start in starts]
            turn_into(scratch, partial(_place, column, row, rows, depth), vectors, loops, depth)
        if k % depth:
            self._copied_rows(scratch, first, whole, depth)
        return scratch

    def _copied_rows(self, scratch: tirx.Buffer, first: Expr, begin: int, depth: int) -> None:
        """Element by element: inputs from entry `begin` on."""
        rows, k, loops = self.tiling.rows, int(self.source.k), self.loops
        last = loops.const(self.source.m) - 1
        with loops.each(rows) as row:
            element = self.operands.element_of_a(Task(loops.const(0), [], first, 1), tirx.min(first + row, last))
            with loops.each(ceildiv(k, depth) - begin) as entry:
                for i in range(depth):
                    at = (begin + entry) * depth + i
                    inside = loops.bind(minimum(at, k - 1)) if k % depth else at
                    T.buffer_store(scratch, element(inside), [_place(begin + entry, row, rows, depth, 0) + i])

    def _finish(self) -> Finish:
        """Makes the output of a sum; beyond the last, where only scratch is written, by what belongs to the last."""
        source, last, lanes, leaves = self.source, int(self.source.n) - 1, self.tiling.lanes, self.frame.leaves()
        kept = Kept(source.kept, lanes)

        def finish(n: Expr, total: Expr, lane: Expr) -> Expr:
            inside = tirx.min(n, self.loops.const(last)) if (last + 1) % lanes else n
            inliner = Inliner({**leaves, source.acc: lambda _: total}, kept.keep(lane) if source.kept else None)
            return inliner.at(source.outputs[0], [*self._unread, inside])

        return finish

    def _written(self, place: Place, outputs: Panel) -> None:
        """Outputs of one panel that are finished."""
        n, out = self.loops.const(self.source.n), self.frame.outputs[0]

        def write(column: Expr, first: Callable[[int], Expr]) -> None:
            row = T.Bind(place.row_tile * self.tiling.rows + column)
            with self._inside(row):
                start = T.Bind(row * n + place.panel * self.tiling.lanes)
                for is_full, width in self.frame.widths(place.panel):
                    with when(is_full):
                        assert isinstance(width, int)  # the weight's shape is known
                        made = reinterpreted(first(width), f"{out.dtype}x{width}")
                        T.buffer_store(out, made, [self.loops.span(start, width)])

        outputs.byte_rows(write)

    def _finished(self, place: Place, sums: Panel) -> None:
        """The outputs of one panel, of its sums."""
        kept = Kept(self.source.kept, self.tiling.lanes)

        def store(column: Expr, i: int, buffer: tirx.Buffer) -> None:
            row = T.Bind(place.row_tile * self.tiling.rows + column)
            with self._inside(row):
                for is_full, width in self.frame.widths(place.panel):
                    with when(is_full):
                        assert isinstance(width, int)  # the weight's shape is known
                        self._store(place, row, width, buffer, i, kept)

        sums.rows(store)

    def _inside(self, row: Expr) -> AbstractContextManager[None]:
        """Where tiles may reach beyond the last row: a branch for those that are."""
        ragged = not (isinstance(self.source.m, int) and self.source.m % self.tiling.rows == 0)
        return when(row < self.loops.const(self.source.m) if ragged else None)


def _place(column: Expr, row: Expr, rows: int, depth: int, i: int) -> Expr:
    """Where the inputs of entry `column + i` of a row are in scratch."""
    return ((column + i) * rows + row) * depth
