"""How the operands of a matrix product come to its tiles: rows of `a`, panels of `b`, from where they lie or packed by
the task."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from tvm import tirx
from tvm.ir import Expr
from tvm.tirx.script.builder import ir as T

from dsc.lower.floats import condition
from dsc.targets.cpu.gemm.frame import Frame, Place, Task
from dsc.targets.cpu.gemm.product import batch_at, in_memory
from dsc.targets.cpu.halves import widened
from dsc.targets.cpu.inline import Inliner
from dsc.targets.cpu.tile import as_elements
from dsc.targets.tir.loops import pieces, when, zeros

Panel: TypeAlias = Callable[[Expr, Expr], Expr]
"""Gives elements of a panel of `b`: step, and the place or a vector of places in its row of the panel."""
Element: TypeAlias = Callable[[Expr], Expr]
"""Gives an element of a row of `a` by column."""
Row: TypeAlias = Callable[[Expr, int], Expr]
"""Gives the elements of a row of `a` for a step, or for so many from one on. Rows that one instruction multiplies are
one."""
Rows: TypeAlias = Callable[[Place, Sequence[Expr], bool], list[Row]]
"""Gives some rows of `a`; told whether some may be beyond the last."""


class Operands:
    """Reads, and writes the copies that are read."""

    def __init__(self, frame: Frame) -> None:
        self.frame, self.neighbours = frame, frame.instruction.k
        self.source, self.tiling = frame.source, frame.tiling
        self.instruction, self.loops = frame.instruction, frame.loops
        self.a, self.b = (in_memory(element) for element in self.source.operands[:2])
        """Types of the elements in the copies."""

    def rows(self, task: Task) -> Rows:
        """Rows of `a`: copied, in the instruction's type, where elements are taken together that do not lie so."""
        copied = self.neighbours > 1 or (self.tiling.depth > 1 and not self.source.plain_a)
        return self._packed_rows(task) if copied else self._plain_rows

    def panel(self, task: Task, panel: Expr) -> Panel:
        """A panel of `b`: given, or copied to a buffer of the task's own."""
        weight = self.source.weight
        if weight is not None:
            return self._constant_panel(weight, task, panel)
        return self._interleaved(task.at, panel) if self.neighbours > 1 else self._packed(task.at, panel)

    def _constant_panel(self, weight: int, task: Task, panel: Expr) -> Panel:
        """The panel as it is packed. Bytes are widened as they are loaded; of half precision a panel is made in
        float32, once for all tiles of a task, or, for the only one, in registers."""
        stored = self.frame.buffers[self.source.params[weight]]
        leading = batch_at(self.source.b.shape[:-2], self.source.batch, task.at)

        def packed(k: Expr, column: Expr) -> Expr:
            return stored[(*leading, panel, k, column)]

        if not self.source.widens_panels:
            return lambda k, column: as_elements(packed(k, column), self.b)
        return (lambda k, column: widened(packed(k, column))) if self.frame.one_tile else self._in_float32(packed)

    def _in_float32(self, packed: Panel) -> Panel:
        """A copy of a panel in half precision to a buffer of the task's own."""
        scratch = T.alloc_buffer((self.frame.steps, self.tiling.columns), self.b)
        with self.loops.each(self.frame.steps) as k:
            for start, lanes in pieces(self.tiling.columns, self.tiling.lanes):
                columns = self.loops.span(start, lanes)
                T.buffer_store(scratch, widened(packed(k, columns)), [k, columns])
        return lambda k, column: scratch[k, column]

    def _packed(self, batch: list[Expr], panel: Expr) -> Panel:
        """Copies the panel to a buffer of the task's own."""
        columns = self.tiling.columns
        scratch = T.alloc_buffer((self.source.k, columns), self.b)
        left = self.source.n - panel * columns
        with self.loops.each(self.source.k) as k:
            for is_full, width in self.frame.widths(panel):
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
        scratch = T.alloc_buffer((self.frame.steps, columns * neighbours), self.b)
        last = loops.const(self.source.n) - 1
        with loops.each(self.frame.steps) as step, loops.each(columns) as column, loops.each(neighbours) as neighbour:
            k = step * neighbours + neighbour
            at = tirx.min(panel * columns + column, last)
            value = self._or_zero(k, lambda inside: self._b(batch, inside, at), self.b)
            T.buffer_store(scratch, value, [step, column * neighbours + neighbour])
        return lambda step, column: scratch[step, column]

    def _copy_vectors(self, scratch: tirx.Buffer, batch: list[Expr], panel: Expr, k: Expr, width: int) -> None:
        for start, lanes in pieces(width, self.tiling.lanes):
            with self.loops.each(lanes, T.vectorized) as lane:
                at = panel * self.tiling.columns + start + lane
                T.buffer_store(scratch, self._b(batch, k, at), [k, start + lane])
        for column in range(width, self.tiling.columns):
            T.buffer_store(scratch, zeros(1, self.b), [k, self.loops.const(column)])

    def _b(self, batch: list[Expr], k: Expr, n: Expr) -> Expr:
        b = self.source.b
        return Inliner(self.frame.leaves()).at(b, [*batch_at(b.shape[:-2], self.source.batch, batch), k, n])

    def _plain_rows(self, place: Place, wanted: Sequence[Expr], ragged: bool) -> list[Row]:
        """The rows of a tile where they lie; beyond the last one, that again."""
        last = self.loops.const(self.source.m) - 1
        return [self._a_row(place, T.Bind(tirx.min(row, last)) if ragged else row) for row in wanted]

    def _packed_rows(self, task: Task) -> Rows:
        """Copies the rows of a task, as the instruction wants their elements, to a buffer of the task's own."""
        loops, tiling, stacked = self.loops, self.tiling, self.tiling.stacked
        width = self.neighbours if stacked > 1 else self.instruction.n * self.neighbours
        last = loops.const(self.source.m) - 1
        count = tiling.rows * (tiling.block if tiling.by_rows else self.frame.row_tiles)
        scratch = T.alloc_buffer((count // stacked, self.frame.steps * self.neighbours * stacked), self.a)
        with loops.each(task.count * tiling.rows) as i:
            row = self.element_of_a(task, T.Bind(tirx.min(task.first * tiling.rows + i, last)))
            whole = self.source.k // width if isinstance(self.source.k, int) else 0
            with loops.each(whole) as part, loops.each(width, T.vectorized) as lane:
                T.buffer_store(scratch, row(part * width + lane), self._in_stacks(i, part * width, lane))
            with loops.each(self.frame.steps * self.neighbours - whole * width) as rest:
                k = whole * width + rest
                step, neighbour = loops.split(k, self.neighbours)
                value = self._or_zero(k, row, self.a)
                T.buffer_store(scratch, value, self._in_stacks(i, step * self.neighbours, neighbour))

        def rows(place: Place, wanted: Sequence[Expr], ragged: bool) -> list[Row]:
            first, size = T.Bind(place.tile * (tiling.rows // stacked)), self.neighbours * stacked

            def reader(stack: int) -> Row:
                return lambda step, count: scratch[first + stack, loops.span(step * size, count * size)]

            return [reader(stack) for stack in range(len(wanted) // stacked)]

        return rows

    def _in_stacks(self, row: Expr, step: Expr, neighbour: Expr) -> list[Expr]:
        """Where an element of a row is in its copy: the first of a step or of several, and its place after that.

        Of rows that one instruction multiplies, the elements of a step lie side by side.
        """
        stacked = self.tiling.stacked
        if stacked == 1:
            return [row, step + neighbour]
        stack, within = self.loops.split(row, stacked)
        return [stack, step * stacked + within * self.neighbours + neighbour]

    def _or_zero(self, k: Expr, element: Element, dtype: str) -> Expr:
        """The element at `k`; 0 beyond the last."""
        depth = self.loops.const(self.source.k)
        return tirx.Select(condition(k < depth), element(tirx.min(k, depth - 1)), tirx.const(0, dtype))

    def element_of_a(self, task: Task, row: Expr) -> Element:
        """Reads a row of `a` by column, as it is computed."""
        a, inliner = self.source.a, Inliner(self.frame.leaves())
        rows = self.frame.coordinates(row)
        at = [*batch_at(a.shape[: len(a.shape) - 1 - len(rows)], self.source.batch, task.at), *rows]
        return lambda k: inliner.at(a, [*at, k])

    def _a_row(self, place: Place, row: Expr) -> Row:
        """Reads a row of `a` by column, where it lies if it is in memory."""
        a = self.source.a
        if self.source.plain_a:
            base = T.Bind((place.task.batch * self.loops.const(self.source.m) + row) * self.loops.const(self.source.k))
            return lambda k, count: self.frame.flat[a][self.loops.span(base + k, count)]
        element = self.element_of_a(place.task, row)  # computed one by one: the tiling's depth is 1
        return lambda k, _: element(k)
