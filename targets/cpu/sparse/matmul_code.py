"""The code of a product by a sparse weight: rows of activations are turned once for all panels of a task."""

from __future__ import annotations

from functools import partial

from tvm import tirx
from tvm.ir import Expr
from tvm.tirx.script.builder import ir as T

from dsc.lower.exprs import ceildiv, divides, minimum
from dsc.targets.cpu.gemm.code import Writer
from dsc.targets.cpu.gemm.frame import Frame, Packed, Place, Task
from dsc.targets.cpu.gemm.product import Product
from dsc.targets.cpu.gemm.tiling import Tiling
from dsc.targets.cpu.inline import Kept
from dsc.targets.cpu.sparse.panel import Panel, Stream, square_of, turn_into
from dsc.targets.machine import MultiplyAdd
from dsc.targets.tir.loops import flat, function, when


def write(source: Product, tiling: Tiling, instruction: MultiplyAdd, packed: Packed) -> tirx.PrimFunc:
    """The function that computes `source`, whose weight is given as `Entries`.

    tiling: rows are those of activations in a tile, as many as some vectors have lanes; a panel is one vector.
    """
    with function() as made:
        _Sparse(Frame(source, tiling, instruction, packed)).tasks()
    return made.get()


class _Sparse(Writer):
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
            sums = Panel(stream, self.instruction, tiling.rows, loops)
            first = strip * tiling.strip
            whole = divides(tiling.strip, frame.panels)
            count = tiling.strip if whole else minimum(tiling.strip, frame.panels - first)
            with loops.each(count) as i:
                place = Place(Task(loops.const(0), [], tile, 1), loops.const(0), T.Bind(first + i))
                sums.multiply(place.panel, lambda at: turned_rows[at])
                self._finished(place, sums)

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

    def _finished(self, place: Place, sums: Panel) -> None:
        """The outputs of one panel."""
        kept = Kept(self.source.kept, self.tiling.lanes)
        m, rows = self.loops.const(self.source.m), self.tiling.rows
        ragged = not (isinstance(self.source.m, int) and self.source.m % rows == 0)

        def store(column: Expr, i: int, buffer: tirx.Buffer) -> None:
            row = T.Bind(place.row_tile * rows + column)
            with when(row < m if ragged else None):
                for is_full, width in self.frame.widths(place.panel):
                    with when(is_full):
                        assert isinstance(width, int)  # the weight's shape is known
                        self._store(place, row, width, buffer, i, kept)

        sums.rows(store)


def _place(column: Expr, row: Expr, rows: int, depth: int, i: int) -> Expr:
    """Where the inputs of entry `column + i` of a row are in scratch."""
    return ((column + i) * rows + row) * depth
