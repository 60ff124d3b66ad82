"""The code of a matrix product: packed panels, register tiles, and the epilogue on what is in registers.

``a`` is read as it lies in memory, one scalar at a time, broadcast. ``b`` is in panels of as many columns as
the tile has, ``[n / columns][k][columns]``: packed at compile time if it is constant, else by each task for
itself. Where the instruction adds several products at once, so many neighbours of ``a`` are broadcast together, from
a copy that each task makes of its rows in the instruction's type, and so many of a column of ``b`` lie side by side.
Ragged rows read the last row again and are not stored; ragged columns are zeros in the panel.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

from tvm import te, tirx
from tvm.ir import Expr
from tvm.tirx.analysis import undefined_vars
from tvm.tirx.script.builder import ir as T

from dsc.lower.exprs import Dim, ceildiv, minimum, product
from dsc.targets.cpu.gemm.product import Product, batch_at, same_dims, same_place
from dsc.targets.cpu.inline import Inliner, Keep, Kept, Leaf, is_one_of
from dsc.targets.cpu.tile import RegisterTile
from dsc.targets.kernel import ArrayType
from dsc.targets.machine import MultiplyAdd
from dsc.targets.tir.loops import Loops, argument, flat, function, pieces, when, zeros


@dataclass(frozen=True)
class Tiling:
    """A point of the design space: the register tile, and what the tasks are."""

    rows: int
    vectors: int
    lanes: int
    axis: str
    """What a task is: ``columns``: one panel; ``rows``: `block` row tiles; ``both``: those of one panel; ``none``."""
    block: int = 1
    """Row tiles in one task, where they are divided."""

    @property
    def by_rows(self) -> bool:
        """Whether row tiles are divided between tasks."""
        return self.axis in ("rows", "both")

    @property
    def by_columns(self) -> bool:
        """Whether panels are divided between tasks."""
        return self.axis in ("columns", "both")

    @property
    def columns(self) -> int:
        """Columns of a tile."""
        return self.vectors * self.lanes


def write(source: Product, tiling: Tiling, instruction: MultiplyAdd, packed: Sequence[ArrayType]) -> tirx.PrimFunc:
    """The function that computes `source` with `instruction`; a constant `b` is given in `packed` arrays."""
    with function() as made:
        _Writer(source, tiling, instruction, packed).write()
    return made.get()


class _Writer:
    def __init__(self, source: Product, tiling: Tiling, instruction: MultiplyAdd, packed: Sequence[ArrayType]) -> None:
        self.source, self.tiling, self.instruction, self.packed = source, tiling, instruction, packed
        self.loops = Loops.over(source.params)
        self.neighbours = instruction.k
        self.steps = ceildiv(source.k, self.neighbours)
        self.row_tiles = ceildiv(source.m, tiling.rows)
        self.panels = ceildiv(source.n, tiling.columns)

    def write(self) -> None:
        """Declares the parameters and writes the body."""
        self.buffers: dict[te.Tensor, tirx.Buffer] = {}
        for position, tensor in enumerate(self.source.params):
            if position != self.source.weight:
                self.buffers[tensor] = argument(f"in{position}", tensor.shape, tensor.dtype)
                continue
            panels, *sums = [argument(f"in{position}_{i}", a.shape, a.dtype) for i, a in enumerate(self.packed)]
            self.buffers[tensor] = panels
            if self.source.sums is not None:
                (self.buffers[self.source.sums],) = sums
        for scalar in self.source.scalars:
            T.arg(scalar.name, scalar)
        outputs = [argument(f"out{i}", out.shape, out.dtype) for i, out in enumerate(self.source.outputs)]
        self.flat = {tensor: flat(self.buffers[tensor]) for tensor in self._shaped_as_product()}
        self.flat_outputs = [flat(out) for out in outputs]
        self.loops.assume(self.source.assumed)
        self._tasks()

    def _shaped_as_product(self) -> list[te.Tensor]:
        """Tensors that are read where the outputs are written, or row by row: as one long array."""
        shape = self.source.shape
        same = [t for t in self.source.params if len(t.shape) == len(shape) and same_dims(t.shape, shape)]
        return [*same, self.source.a] if self.source.plain_a and not is_one_of(self.source.a, same) else same

    def _tasks(self) -> None:
        tiling = self.tiling
        blocks = ceildiv(self.row_tiles, tiling.block) if tiling.by_rows else 1
        parts = blocks * self.panels if tiling.by_columns else blocks
        kind = T.parallel if tiling.by_rows or tiling.by_columns else T.serial
        with self.loops.each(product(self.source.batch) * parts, kind) as task:
            batch, part = self.loops.split(task, parts) if self.source.batch else (self.loops.const(0), task)
            panel, block = self.loops.split(part, blocks) if tiling.by_columns else (None, part)
            first = block * tiling.block
            count = minimum(tiling.block, self.row_tiles - first) if tiling.by_rows else self.row_tiles
            task = _Task(batch, self.loops.unravel(batch, self.source.batch), first, count)
            rows = self._packed_rows(task) if self.neighbours > 1 else self._rows
            if panel is not None:
                self._panel(task, panel, rows)
                return
            with self.loops.each(self.panels) as panel:
                self._panel(task, panel, rows)

    def _panel(self, task: _Task, panel: Expr, rows: Rows) -> None:
        """The row tiles of one panel."""
        weight = self.source.weight
        panel_of_b = self._packed(task.at, panel) if weight is None else self._constant_panel(weight, task.at, panel)
        with self.loops.each(task.count) as i:
            self._tile(_Place(task, i, panel), rows, panel_of_b)

    def _constant_panel(self, weight: int, batch: list[Expr], panel: Expr) -> Panel:
        stored = self.buffers[self.source.params[weight]]
        leading = batch_at(self.source.b.shape[:-2], self.source.batch, batch)
        return lambda k, column: stored[(*leading, panel, k, column)]

    def _packed(self, batch: list[Expr], panel: Expr) -> Panel:
        """Copies the panel to a buffer of the task's own."""
        columns = self.tiling.columns
        if self.neighbours > 1:
            return self._interleaved(batch, panel)
        scratch = T.alloc_buffer((self.source.k, columns), self.instruction.b)
        left = self.source.n - panel * columns
        with self.loops.each(self.source.k) as k:
            for is_full, width in self._widths(panel):
                with when(is_full):
                    if isinstance(width, int):
                        self._copy_vectors(scratch, batch, panel, k, width)
                    else:
                        with self.loops.each(columns) as column:
                            at = panel * columns + tirx.min(column, left - 1)
                            T.buffer_store(scratch, self._b(batch, k, at), [k, column])
        return lambda k, column: scratch[k, column]

    def _interleaved(self, batch: list[Expr], panel: Expr) -> Panel:
        """The same, with neighbours side by side; what is beyond `k` is 0."""
        loops, columns, neighbours = self.loops, self.tiling.columns, self.neighbours
        scratch = T.alloc_buffer((self.steps, columns * neighbours), self.instruction.b)
        last = loops.const(self.source.n) - 1
        with loops.each(self.steps) as step, loops.each(columns) as column, loops.each(neighbours) as neighbour:
            k = step * neighbours + neighbour
            inside = tirx.min(k, loops.const(self.source.k) - 1)
            value = self._b(batch, inside, tirx.min(panel * columns + column, last))
            kept = tirx.Select(k < loops.const(self.source.k), value, tirx.const(0, self.instruction.b))
            T.buffer_store(scratch, kept, [step, column * neighbours + neighbour])
        return lambda step, column: scratch[step, column]

    def _copy_vectors(self, scratch: tirx.Buffer, batch: list[Expr], panel: Expr, k: Expr, width: int) -> None:
        for start, lanes in pieces(width, self.tiling.lanes):
            with self.loops.each(lanes, T.vectorized) as lane:
                at = panel * self.tiling.columns + start + lane
                T.buffer_store(scratch, self._b(batch, k, at), [k, start + lane])
        for column in range(width, self.tiling.columns):
            T.buffer_store(scratch, zeros(1, self.instruction.b), [k, self.loops.const(column)])

    def _b(self, batch: list[Expr], k: Expr, n: Expr) -> Expr:
        b = self.source.b
        return Inliner(self._leaves()).at(b, [*batch_at(b.shape[:-2], self.source.batch, batch), k, n])

    def _tile(self, place: _Place, rows_of_a: Rows, panel: Panel) -> None:
        rows = self.tiling.rows
        tile = RegisterTile(self.instruction, rows, self.tiling.columns, self.tiling.lanes)
        ragged = not (isinstance(self.source.m, int) and self.source.m % rows == 0)
        wanted = [T.Bind(place.row_tile * rows + i) for i in range(rows)]
        a_rows = rows_of_a(place, wanted, ragged)
        tile.clear()
        with self.loops.each(self.steps) as step:
            elements = [T.Bind(row(step)) for row in a_rows]
            tile.step(elements, [panel(step, self._neighbouring(*vector)) for vector in tile.vectors])
        kept = Kept(self.source.kept, self.tiling.lanes)
        for is_full, width in self._widths(place.panel):
            with when(is_full):
                if not isinstance(width, int):
                    self._store_by_element(place, width, tile, kept)
                    continue
                for i, row in enumerate(wanted):
                    with when(row < self.loops.const(self.source.m) if ragged else None):
                        self._store(place, row, width, tile.sums, i, kept)

    def _neighbouring(self, start: int, lanes: int) -> Expr:
        """Where the elements for so many sums from `start` on lie in a row of a panel."""
        return self.loops.span(start * self.neighbours, lanes * self.neighbours)

    def _rows(self, place: _Place, wanted: Sequence[Expr], ragged: bool) -> list[Callable[[Expr], Expr]]:
        """The rows of a tile where they lie; beyond the last one, that again."""
        last = self.loops.const(self.source.m) - 1
        return [self._a_row(place, T.Bind(tirx.min(row, last)) if ragged else row) for row in wanted]

    def _packed_rows(self, task: _Task) -> Rows:
        """Copies the rows of a task, as the instruction wants their elements, to a buffer of the task's own."""
        loops, tiling = self.loops, self.tiling
        width, last = self.instruction.n * self.neighbours, loops.const(self.source.m) - 1
        count = tiling.rows * (tiling.block if tiling.by_rows else self.row_tiles)
        scratch = T.alloc_buffer((count, self.steps * self.neighbours), self.instruction.a)
        with loops.each(task.count * tiling.rows) as i:
            row = self._element_of_a(task, T.Bind(tirx.min(task.first * tiling.rows + i, last)))
            whole = self.source.k // width if isinstance(self.source.k, int) else 0
            with loops.each(whole) as part, loops.each(width, T.vectorized) as lane:
                T.buffer_store(scratch, row(part * width + lane), [i, part * width + lane])
            with loops.each(self.steps * self.neighbours - whole * width) as rest:
                k = whole * width + rest
                value = row(tirx.min(k, loops.const(self.source.k) - 1))
                kept = tirx.Select(k < loops.const(self.source.k), value, tirx.const(0, self.instruction.a))
                T.buffer_store(scratch, kept, [i, k])

        def rows(place: _Place, wanted: Sequence[Expr], ragged: bool) -> list[Callable[[Expr], Expr]]:
            first = T.Bind(place.tile * tiling.rows)

            def reader(i: int) -> Callable[[Expr], Expr]:
                return lambda step: scratch[first + i, loops.span(step * self.neighbours, self.neighbours)]

            return [reader(i) for i in range(len(wanted))]

        return rows

    def _element_of_a(self, task: _Task, row: Expr) -> Callable[[Expr], Expr]:
        """Reads a row of `a` by column, as it is computed."""
        a, inliner = self.source.a, Inliner(self._leaves())
        rows = self._coordinates(row)
        at = [*batch_at(a.shape[: len(a.shape) - 1 - len(rows)], self.source.batch, task.at), *rows]
        return lambda k: inliner.at(a, [*at, k])

    def _a_row(self, place: _Place, row: Expr) -> Callable[[Expr], Expr]:
        """Reads a row of `a` by column, where it lies if it is in memory."""
        a = self.source.a
        if self.source.plain_a:
            base = T.Bind((place.task.batch * self.loops.const(self.source.m) + row) * self.loops.const(self.source.k))
            return lambda k: self.flat[a][base + k]
        return self._element_of_a(place.task, row)

    def _widths(self, panel: Expr) -> list[tuple[Expr | None, Dim]]:
        """The numbers of columns that panels have, each with the condition that `panel` has so many."""
        n, columns = self.source.n, self.tiling.columns
        if isinstance(n, int) and n % columns == 0:
            return [(None, columns)]
        last = n - (self.panels - 1) * columns
        if self.panels == 1:
            return [(None, last)]
        end = self.loops.const(self.panels - 1)
        return [(panel < end, columns), (panel == end, last)]

    def _store(self, place: _Place, row: Expr, width: int, sums: tirx.Buffer, i: int, kept: Kept) -> None:
        """One row of a tile: the first `width` columns of every output."""
        at, base = self._row(place, row)
        for start, lanes in pieces(width, self.tiling.lanes):
            with self.loops.each(lanes, T.vectorized) as lane:
                column = start + lane
                n = place.panel * self.tiling.columns + column
                self._outputs([*at, n], base + n, sums[i, column], kept.keep(lane))

    def _store_by_element(self, place: _Place, width: Dim, tile: RegisterTile, kept: Kept) -> None:
        """A tile of a number of columns yet unknown: through memory, as registers have no variable index."""
        copied = T.alloc_buffer((self.tiling.rows, self.tiling.columns), self.instruction.accumulator)
        tile.store(copied, lambda i: [i], self.loops)
        first = place.row_tile * self.tiling.rows
        with self.loops.each(minimum(self.tiling.rows, self.source.m - first)) as i:
            at, base = self._row(place, first + i)
            with self.loops.each(width) as column:
                n = place.panel * self.tiling.columns + column
                self._outputs([*at, n], base + n, copied[i, column], kept.keep(self.loops.const(0)))

    def _row(self, place: _Place, row: Expr) -> tuple[list[Expr], Expr]:
        """Coordinates of a row, and the position of its first column in the outputs."""
        in_all = place.task.batch * self.loops.const(self.source.m) + row
        at = self._coordinates(row) if self._reads_rows else self._unread
        return [*place.task.at, *at], T.Bind(in_all * self.loops.const(self.source.n))

    def _coordinates(self, row: Expr) -> list[Expr]:
        """Of a row; in memory where dims are symbolic: TVM's simplifier sees through variables, and takes seconds to
        divide what it sees.
        """
        if all(isinstance(size, int) for size in self.source.rows[1:]):
            return self.loops.unravel(row, self.source.rows)
        places = T.alloc_buffer((len(self.source.rows),), self.loops.dtype, scope="local")
        first = self.loops.const(0)
        T.buffer_store(places, row, [first])
        for axis in reversed(range(1, len(self.source.rows))):
            size = self.loops.const(self.source.rows[axis])
            T.buffer_store(places, tirx.floormod(places[first], size), [axis])
            T.buffer_store(places, tirx.floordiv(places[first], size), [first])
        return [places[axis] for axis in range(len(self.source.rows))]

    @cached_property
    def _unread(self) -> list[Expr]:
        """Stand for the coordinates of a row where nothing reads them."""
        return [tirx.Var(f"row{axis}", self.loops.dtype) for axis in range(len(self.source.rows))]

    @cached_property
    def _reads_rows(self) -> bool:
        """Whether the epilogue needs coordinates of rows, to add a column, and not only positions in memory."""
        batch = [tirx.Var("batch", self.loops.dtype) for _ in self.source.batch]
        at = [*batch, *self._unread, tirx.Var("n", self.loops.dtype)]
        leaves = self._leaves(at, tirx.Var("position", self.loops.dtype))
        inliner = Inliner({**leaves, self.source.acc: lambda _: tirx.const(0, self.instruction.accumulator)})
        read = [v for output in self.source.outputs for v in undefined_vars(inliner.at(output, at))]
        return any(v.same_as(row) for v in read for row in self._unread)

    def _outputs(self, at: list[Expr], position: Expr, acc: Expr, keep: Keep) -> None:
        leaves = {**self._leaves(at, position), self.source.acc: lambda _: acc}
        inliner = Inliner(leaves, keep if self.source.kept else None)
        values = [inliner.at(output, at) for output in self.source.outputs]
        for buffer, value in zip(self.flat_outputs, values, strict=True):
            T.buffer_store(buffer, value, [position])

    def _leaves(self, at: list[Expr] | None = None, position: Expr | None = None) -> dict[te.Tensor, Leaf]:
        """Loads of the inputs; those at the element that is being computed by its `position` in memory."""
        shape = self.source.shape

        def leaf(tensor: te.Tensor) -> Leaf:
            def load(indices: Sequence[Expr]) -> Expr:
                if at is not None and tensor in self.flat and same_place(indices, at, shape):
                    return self.flat[tensor][position]
                return self.buffers[tensor][tuple(indices)]

            return load

        given = [*self.source.params, *([] if self.source.sums is None else [self.source.sums])]
        return {tensor: leaf(tensor) for tensor in given}


Panel: TypeAlias = Callable[[Expr, Expr], Expr]
"""Gives elements of a panel of `b`: step, and the place or a vector of places in its row of the panel."""
Rows: TypeAlias = "Callable[[_Place, Sequence[Expr], bool], list[Callable[[Expr], Expr]]]"
"""Gives the elements of some rows of `a` by step; told whether some rows may be beyond the last."""


@dataclass(frozen=True)
class _Task:
    """Rows that are computed together."""

    batch: Expr
    at: list[Expr]
    """Coordinates of the batch."""
    first: Expr
    """Row tile."""
    count: Dim
    """Row tiles."""


@dataclass(frozen=True)
class _Place:
    """Where a tile is."""

    task: _Task
    tile: Expr
    """Within the task."""
    panel: Expr

    @property
    def row_tile(self) -> Expr:
        """Of all row tiles."""
        return self.task.first + self.tile
