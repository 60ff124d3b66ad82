"""The code of a matrix product: packed panels, register tiles, and the epilogue on what is in registers.

``a`` is read as it lies in memory, one scalar at a time, broadcast. ``b`` is in panels of as many columns as
the tile has, ``[n / columns][k][columns]``: packed at compile time if it is constant, else by each task for
itself. Where the instruction adds several products at once, so many neighbours of ``a`` are broadcast together, from
a copy that each task makes of its rows in the instruction's type, and so many of a column of ``b`` lie side by side.
Ragged rows read the last row again and are not stored; ragged columns are zeros in the panel.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import TypeAlias

from tvm import tirx
from tvm.ir import Expr
from tvm.tirx.analysis import undefined_vars
from tvm.tirx.script.builder import ir as T

from dsc.lower.exprs import Dim, ceildiv, divides, minimum, product
from dsc.targets.cpu.gemm.frame import Frame, Packed, Place, Task
from dsc.targets.cpu.gemm.operands import Operands, Panel, Row, Rows
from dsc.targets.cpu.gemm.product import Product
from dsc.targets.cpu.gemm.tiling import Tiling
from dsc.targets.cpu.inline import Inliner, Keep, Kept
from dsc.targets.cpu.matrix_tile import MatrixTile
from dsc.targets.cpu.tile import RegisterTile, Tile
from dsc.targets.machine import MultiplyAdd
from dsc.targets.tir.loops import function, pieces, when

Multiply: TypeAlias = Callable[[Tile, "Sequence[Row]"], None]
"""Adds to a tile what rows of `a` and a panel of `b` give."""


def write(source: Product, tiling: Tiling, instruction: MultiplyAdd, packed: Packed) -> tirx.PrimFunc:
    """The function that computes `source` with `instruction`."""
    with function() as made:
        Writer(Frame(source, tiling, instruction, packed)).tasks()
    return made.get()


class Writer:
    """Writes the statements of a product, in the open function of its frame."""

    def __init__(self, frame: Frame) -> None:
        self.frame, self.operands = frame, Operands(frame)
        self.source, self.tiling = frame.source, frame.tiling
        self.instruction, self.loops = frame.instruction, frame.loops

    def tasks(self) -> None:
        """The whole product."""
        tiling = self.tiling
        blocks = ceildiv(self.frame.row_tiles, tiling.block) if tiling.by_rows else 1
        parts = blocks * ceildiv(self.frame.panels, tiling.strip) if tiling.by_columns else blocks
        kind = T.parallel if tiling.by_rows or tiling.by_columns else T.serial
        with self.loops.each(product(self.source.batch) * parts, kind) as task:
            batch, part = self.loops.split(task, parts) if self.source.batch else (self.loops.const(0), task)
            strip, block = self.loops.split(part, blocks) if tiling.by_columns else (self.loops.const(0), part)
            first = block * tiling.block
            count = minimum(tiling.block, self.frame.row_tiles - first) if tiling.by_rows else self.frame.row_tiles
            task = Task(batch, self.loops.unravel(batch, self.source.batch), first, count)
            rows = self.operands.rows(task)
            first_panel = strip * tiling.strip
            with self.loops.each(self._panels_from(first_panel)) as panel:
                self._panel(task, first_panel + panel, rows)

    @contextmanager
    def strips(self) -> Iterator[Expr]:
        """Tasks of all rows and some panels each: the first panel of each."""
        kind = T.parallel if self.tiling.by_columns else T.serial
        count = ceildiv(self.frame.panels, self.tiling.strip) if self.tiling.by_columns else 1
        with self.loops.each(count, kind) as strip:
            yield strip * self.tiling.strip

    def _panels_from(self, first: Expr) -> Dim:
        """Panels of the task whose first one is `first`."""
        if not self.tiling.by_columns:
            return self.frame.panels
        whole = divides(self.tiling.strip, self.frame.panels)
        return self.tiling.strip if whole else minimum(self.tiling.strip, self.frame.panels - first)

    def _panel(self, task: Task, panel: Expr, rows: Rows) -> None:
        """The row tiles of one panel."""
        multiply = self.multiplier(task, panel)
        with self.loops.each(task.count) as i:
            self._tile(Place(task, i, panel), rows, multiply)

    def multiplier(self, task: Task, panel: Expr) -> Multiply:
        """Gets a panel ready, and gives what multiplies by it."""
        panel_of_b = self.operands.panel(task, panel)
        return lambda tile, rows: self.multiply(tile, rows, panel_of_b)

    def _tile(self, place: Place, rows_of_a: Rows, multiply: Multiply) -> None:
        rows = self.tiling.rows
        kind = RegisterTile if self.instruction.m == 1 else MatrixTile
        tile = kind(self.instruction, rows, self.tiling.columns, self.tiling.lanes)
        ragged = not (isinstance(self.source.m, int) and self.source.m % rows == 0)
        wanted = [T.Bind(place.row_tile * rows + i) for i in range(rows)]
        a_rows = rows_of_a(place, wanted, ragged)
        tile.clear()
        multiply(tile, a_rows)
        tile.finish()
        kept = Kept(self.source.kept, self.tiling.lanes)
        for is_full, width in self.frame.widths(place.panel):
            with when(is_full):
                if not isinstance(width, int):
                    self._store_by_element(place, width, tile, kept)
                    continue
                for i, row in enumerate(wanted):
                    with when(row < self.loops.const(self.source.m) if ragged else None):
                        self._store(place, row, width, tile.sums, i, kept)

    def multiply(self, tile: Tile, rows: Sequence[Row], panel: Panel) -> None:
        """All steps."""
        self.steps(tile, rows, panel, self.loops.const(0), self.frame.steps)

    def steps(self, tile: Tile, rows: Sequence[Row], panel: Panel, begin: Expr, count: Dim) -> None:
        """So many steps from one on: `depth` of them at a time, and those that are left one by one."""
        depth = self.tiling.depth

        def of_b(step: Expr) -> list[Expr]:
            return [panel(step, self._neighbouring(*vector)) for vector in tile.vectors]

        done: Dim = 0
        if depth > 1:
            groups = count // depth
            done = groups * depth
            with self.loops.each(groups) as group:
                first = begin + group * depth
                tile.steps([row(first, depth) for row in rows], lambda lane: of_b(first + lane))
        if not (isinstance(count, int) and count == done):
            with self.loops.each(count - done) as rest:
                step = begin + (done + rest)
                tile.step([T.Bind(row(step, 1)) for row in rows], of_b(step))

    def _neighbouring(self, start: int, lanes: int) -> Expr:
        """Where the elements for so many sums from `start` on lie in a row of a panel."""
        return self.loops.span(start * self.operands.neighbours, lanes * self.operands.neighbours)

    def _store(self, place: Place, row: Expr, width: int, sums: tirx.Buffer, i: int, kept: Kept) -> None:
        """One row of a tile: the first `width` columns of every output."""
        at, base = self._row(place, row)
        for start, lanes in pieces(width, self.tiling.lanes):
            with self.loops.each(lanes, T.vectorized) as lane:
                column = start + lane
                n = place.panel * self.tiling.columns + column
                self._outputs([*at, n], base + n, sums[i, column], kept.keep(lane))

    def _store_by_element(self, place: Place, width: Dim, tile: Tile, kept: Kept) -> None:
        """A tile of a number of columns yet unknown: through memory, as registers have no variable index."""
        copied = T.alloc_buffer((self.tiling.rows, self.tiling.columns), self.instruction.accumulator)
        tile.store(copied, lambda i: [i], self.loops)
        first = place.row_tile * self.tiling.rows
        with self.loops.each(minimum(self.tiling.rows, self.source.m - first)) as i:
            at, base = self._row(place, first + i)
            with self.loops.each(width) as column:
                n = place.panel * self.tiling.columns + column
                self._outputs([*at, n], base + n, copied[i, column], kept.keep(self.loops.const(0)))

    def _row(self, place: Place, row: Expr) -> tuple[list[Expr], Expr]:
        """Coordinates of a row, and the position of its first column in the outputs."""
        in_all = place.task.batch * self.loops.const(self.source.m) + row
        at = self.frame.coordinates(row) if self._reads_rows else self._unread
        return [*place.task.at, *at], T.Bind(in_all * self.loops.const(self.source.n))

    @cached_property
    def _unread(self) -> list[Expr]:
        """Stand for the coordinates of a row where nothing reads them."""
        return [tirx.Var(f"row{axis}", self.loops.dtype) for axis in range(len(self.source.rows))]

    @cached_property
    def _reads_rows(self) -> bool:
        """Whether the epilogue needs coordinates of rows, to add a column, and not only positions in memory."""
        batch = [tirx.Var("batch", self.loops.dtype) for _ in self.source.batch]
        at = [*batch, *self._unread, tirx.Var("n", self.loops.dtype)]
        leaves = self.frame.leaves(at, tirx.Var("position", self.loops.dtype))
        inliner = Inliner({**leaves, self.source.acc: lambda _: tirx.const(0, self.instruction.accumulator)})
        read = [v for output in self.source.outputs for v in undefined_vars(inliner.at(output, at))]
        return any(v.same_as(row) for v in read for row in self._unread)

    def _outputs(self, at: list[Expr], position: Expr, acc: Expr, keep: Keep) -> None:
        leaves = {**self.frame.leaves(at, position), self.source.acc: lambda _: acc}
        inliner = Inliner(leaves, keep if self.source.kept else None)
        values = [inliner.at(output, at) for output in self.source.outputs]
        for buffer, value in zip(self.frame.outputs, values, strict=True):
            T.buffer_store(buffer, value, [position])
