"""The code of a matrix product: packed panels, register tiles, and the epilogue on what is in registers.

``a`` is read as it lies in memory, one scalar at a time, broadcast. ``b`` is in panels of as many columns as
the tile has, ``[n / columns][k][columns]``: packed at compile time if it is constant, else by each task for
itself.
Ragged rows read the last row again and are not stored; ragged columns are zeros in the panel.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from tvm import te, tirx
from tvm.ir import Expr
from tvm.script.ir_builder import IRBuilder
from tvm.tirx.analysis import undefined_vars
from tvm.tirx.script.builder import ir as T

from dsc.lower.exprs import Dim, ceildiv, dims, minimum, product
from dsc.targets.cpu.frames import Frames
from dsc.targets.cpu.gemm.product import Product, batch_at, same_dims, same_place
from dsc.targets.cpu.inline import Inliner, Keep, Kept, Leaf, is_one_of


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


def write(source: Product, tiling: Tiling) -> tirx.PrimFunc:
    """The function that computes `source`; a constant `b` is a parameter in panels."""
    with IRBuilder() as builder, T.prim_func(private=True, s_tir=True):
        T.func_attr({"tirx.noalias": True})
        _Writer(source, tiling).write()
    return builder.get()


def panel_shape(source: Product, tiling: Tiling) -> tuple[Dim, ...]:
    """The shape of a packed constant `b`."""
    return (*dims(source.b.shape[:-2]), ceildiv(source.n, tiling.columns), source.k, tiling.columns)


class _Writer:
    def __init__(self, source: Product, tiling: Tiling) -> None:
        self.source, self.tiling = source, tiling
        self.frames = Frames.of(source.params)
        self.row_tiles = ceildiv(source.m, tiling.rows)
        self.panels = ceildiv(source.n, tiling.columns)

    def write(self) -> None:
        """Declares the parameters and writes the body."""
        self.buffers: dict[te.Tensor, tirx.Buffer] = {}
        for position, tensor in enumerate(self.source.params):
            shape = panel_shape(self.source, self.tiling) if position == self.source.weight else tensor.shape
            self.buffers[tensor] = T.arg(f"in{position}", T.buffer(shape, tensor.dtype))
        for scalar in self.source.scalars:
            T.arg(scalar.name, scalar)
        outputs = [T.arg(f"out{i}", T.buffer(out.shape, out.dtype)) for i, out in enumerate(self.source.outputs)]
        self.flat = {tensor: self._flat(self.buffers[tensor]) for tensor in self._shaped_as_product()}
        self.flat_outputs = [self._flat(out) for out in outputs]
        self.frames.assume(self.source.assumed)
        self._tasks()

    def _shaped_as_product(self) -> list[te.Tensor]:
        """Tensors that are read where the outputs are written, or row by row: as one long array."""
        shape = self.source.shape
        same = [t for t in self.source.params if len(t.shape) == len(shape) and same_dims(t.shape, shape)]
        return [*same, self.source.a] if self.source.plain_a and not is_one_of(self.source.a, same) else same

    def _flat(self, buffer: tirx.Buffer) -> tirx.Buffer:
        return T.decl_buffer((product(dims(buffer.shape)),), buffer.dtype, data=buffer.data)

    def _tasks(self) -> None:
        tiling = self.tiling
        blocks = ceildiv(self.row_tiles, tiling.block) if tiling.by_rows else 1
        parts = blocks * self.panels if tiling.by_columns else blocks
        kind = T.parallel if tiling.by_rows or tiling.by_columns else T.serial
        with self.frames.loop(product(self.source.batch) * parts, kind) as task:
            batch, part = self.frames.split(task, parts) if self.source.batch else (self.frames.const(0), task)
            panel, block = self.frames.split(part, blocks) if tiling.by_columns else (None, part)
            first = block * tiling.block
            count = minimum(tiling.block, self.row_tiles - first) if tiling.by_rows else self.row_tiles
            if panel is not None:
                self._panel(batch, panel, first, count)
                return
            with self.frames.loop(self.panels) as panel:
                self._panel(batch, panel, first, count)

    def _panel(self, batch: Expr, panel: Expr, first: Expr, count: Dim) -> None:
        """Row tiles ``first .. first + count - 1`` of one panel."""
        at = self.frames.unravel(batch, self.source.batch)
        weight = self.source.weight
        panel_of_b = self._packed(at, panel) if weight is None else self._constant_panel(weight, at, panel)
        with self.frames.loop(count) as i:
            self._tile(_Place(batch, at, panel, first + i), panel_of_b)

    def _constant_panel(self, weight: int, batch: list[Expr], panel: Expr) -> Callable[[Expr, Expr], Expr]:
        stored = self.buffers[self.source.params[weight]]
        leading = batch_at(self.source.b.shape[:-2], self.source.batch, batch)
        return lambda k, column: stored[(*leading, panel, k, column)]

    def _packed(self, batch: list[Expr], panel: Expr) -> Callable[[Expr, Expr], Expr]:
        """Copies the panel to a buffer of the task's own."""
        columns = self.tiling.columns
        scratch = T.alloc_buffer((self.source.k, columns), "float32")
        left = self.source.n - panel * columns
        with self.frames.loop(self.source.k) as k:
            for is_full, width in self._widths(panel):
                with self.frames.when(is_full):
                    if isinstance(width, int):
                        self._copy_vectors(scratch, batch, panel, k, width)
                    else:
                        with T.serial(self.frames.const(0), self.frames.const(columns)) as column:
                            at = panel * columns + tirx.min(column, left - 1)
                            T.buffer_store(scratch, self._b(batch, k, at), [k, column])
        return lambda k, column: scratch[k, column]

    def _copy_vectors(self, scratch: tirx.Buffer, batch: list[Expr], panel: Expr, k: Expr, width: int) -> None:
        zero = tirx.const(0.0, "float32")
        for start, lanes in _pieces(width, self.tiling.lanes):
            with self.frames.lanes(lanes) as lane:
                at = panel * self.tiling.columns + start + lane
                T.buffer_store(scratch, self._b(batch, k, at), [k, start + lane])
        for column in range(width, self.tiling.columns):
            T.buffer_store(scratch, zero, [k, self.frames.const(column)])

    def _b(self, batch: list[Expr], k: Expr, n: Expr) -> Expr:
        b = self.source.b
        return Inliner(self._leaves()).at(b, [*batch_at(b.shape[:-2], self.source.batch, batch), k, n])

    def _tile(self, place: _Place, panel: Callable[[Expr, Expr], Expr]) -> None:
        tiling, rows = self.tiling, self.tiling.rows
        acc = T.alloc_buffer((rows, tiling.columns), "float32", scope="local")
        ragged = not (isinstance(self.source.m, int) and self.source.m % rows == 0)
        wanted = [T.Bind(place.row_tile * rows + i) for i in range(rows)]
        read = [T.Bind(tirx.min(row, self.frames.const(self.source.m) - 1)) if ragged else row for row in wanted]
        a_rows = [self._a_row(place, row) for row in read]
        for i, vector in self._vectors():
            with self.frames.lanes(tiling.lanes) as lane:
                T.buffer_store(acc, tirx.const(0.0, "float32"), [i, vector + lane])
        with self.frames.loop(self.source.k) as k:
            scalars = [T.Bind(row(k)) for row in a_rows]
            for i, vector in self._vectors():
                with self.frames.lanes(tiling.lanes) as lane:
                    at = vector + lane
                    T.buffer_store(acc, acc[i, at] + scalars[i] * panel(k, at), [i, at])
        kept = Kept(self.source.kept, tiling.lanes)
        for is_full, width in self._widths(place.panel):
            with self.frames.when(is_full):
                if not isinstance(width, int):
                    self._store_by_element(place, width, acc, kept)
                    continue
                for i, row in enumerate(wanted):
                    with self.frames.when(row < self.frames.const(self.source.m) if ragged else None):
                        self._store(place, row, width, acc, i, kept)

    def _vectors(self) -> Iterator[tuple[int, int]]:
        """Row, and first column, of each vector of the tile."""
        for i in range(self.tiling.rows):
            for vector in range(self.tiling.vectors):
                yield i, vector * self.tiling.lanes

    def _a_row(self, place: _Place, row: Expr) -> Callable[[Expr], Expr]:
        """Reads a row of `a` by column."""
        a = self.source.a
        if self.source.plain_a:
            base = T.Bind((place.batch * self.frames.const(self.source.m) + row) * self.frames.const(self.source.k))
            return lambda k: self.flat[a][base + k]
        inliner = Inliner(self._leaves())
        rows = self._coordinates(row)
        at = [*batch_at(a.shape[: len(a.shape) - 1 - len(rows)], self.source.batch, place.at), *rows]
        return lambda k: inliner.at(a, [*at, k])

    def _widths(self, panel: Expr) -> list[tuple[Expr | None, Dim]]:
        """The numbers of columns that panels have, each with the condition that `panel` has so many."""
        n, columns = self.source.n, self.tiling.columns
        if isinstance(n, int) and n % columns == 0:
            return [(None, columns)]
        last = n - (self.panels - 1) * columns
        if self.panels == 1:
            return [(None, last)]
        end = self.frames.const(self.panels - 1)
        return [(panel < end, columns), (panel == end, last)]

    def _store(self, place: _Place, row: Expr, width: int, acc: tirx.Buffer, i: int, kept: Kept) -> None:
        """One row of a tile: the first `width` columns of every output."""
        at, base = self._row(place, row)
        for start, lanes in _pieces(width, self.tiling.lanes):
            with self.frames.lanes(lanes) as lane:
                column = start + lane
                n = place.panel * self.tiling.columns + column
                self._outputs([*at, n], base + n, acc[i, column], kept.keep(lane))

    def _store_by_element(self, place: _Place, width: Dim, acc: tirx.Buffer, kept: Kept) -> None:
        """A tile of a number of columns yet unknown: through memory, as registers have no variable index."""
        copied = T.alloc_buffer((self.tiling.rows, self.tiling.columns), "float32")
        for i, vector in self._vectors():
            with self.frames.lanes(self.tiling.lanes) as lane:
                T.buffer_store(copied, acc[i, vector + lane], [i, vector + lane])
        first = place.row_tile * self.tiling.rows
        with self.frames.loop(minimum(self.tiling.rows, self.source.m - first)) as i:
            at, base = self._row(place, first + i)
            with self.frames.loop(width) as column:
                n = place.panel * self.tiling.columns + column
                self._outputs([*at, n], base + n, copied[i, column], kept.keep(self.frames.const(0)))

    def _row(self, place: _Place, row: Expr) -> tuple[list[Expr], Expr]:
        """Coordinates of a row, and the position of its first column in the outputs."""
        in_all = place.batch * self.frames.const(self.source.m) + row
        at = self._coordinates(row) if self._reads_rows else self._unread
        return [*place.at, *at], T.Bind(in_all * self.frames.const(self.source.n))

    def _coordinates(self, row: Expr) -> list[Expr]:
        """Of a row; in memory where dims are symbolic: TVM's simplifier sees through variables, and takes seconds to
        divide what it sees.
        """
        if all(isinstance(size, int) for size in self.source.rows[1:]):
            return self.frames.unravel(row, self.source.rows)
        places = T.alloc_buffer((len(self.source.rows),), self.frames.dtype, scope="local")
        first = self.frames.const(0)
        T.buffer_store(places, row, [first])
        for axis in reversed(range(1, len(self.source.rows))):
            size = self.frames.const(self.source.rows[axis])
            T.buffer_store(places, tirx.floormod(places[first], size), [axis])
            T.buffer_store(places, tirx.floordiv(places[first], size), [first])
        return [places[axis] for axis in range(len(self.source.rows))]

    @cached_property
    def _unread(self) -> list[Expr]:
        """Stand for the coordinates of a row where nothing reads them."""
        return [tirx.Var(f"row{axis}", self.frames.dtype) for axis in range(len(self.source.rows))]

    @cached_property
    def _reads_rows(self) -> bool:
        """Whether the epilogue needs coordinates of rows, to add a column, and not only positions in memory."""
        batch = [tirx.Var("batch", self.frames.dtype) for _ in self.source.batch]
        at = [*batch, *self._unread, tirx.Var("n", self.frames.dtype)]
        leaves = self._leaves(at, tirx.Var("position", self.frames.dtype))
        inliner = Inliner({**leaves, self.source.acc: lambda _: tirx.const(0.0, "float32")})
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

        return {tensor: leaf(tensor) for tensor in self.source.params}


@dataclass(frozen=True)
class _Place:
    """Where a tile is."""

    batch: Expr
    at: list[Expr]
    """Coordinates of the batch."""
    panel: Expr
    row_tile: Expr


def _pieces(width: int, lanes: int) -> Iterator[tuple[int, int]]:
    """Start and lanes of the vectors that make up `width` columns."""
    for start in range(0, width, lanes):
        yield start, min(lanes, width - start)
