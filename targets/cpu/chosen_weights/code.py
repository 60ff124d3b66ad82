"""The code of a product by chosen matrices: pairs are sorted by their choice, and multiplied a few at a time.

A task has some panels of columns of all matrices. It sorts the pairs by counting, which costs nothing beside a panel,
so nothing is shared between tasks.
"""

from __future__ import annotations

from dataclasses import dataclass

from tvm import tirx
from tvm.ir import Expr
from tvm.tirx.script.builder import ir as T

from dsc.lower.exprs import dims
from dsc.lower.ops.gather import wrapped
from dsc.targets.cpu.chosen_weights.problem import ChosenProduct
from dsc.targets.cpu.gemm.code import Writer
from dsc.targets.cpu.gemm.frame import Frame, Packed, Place, Task
from dsc.targets.cpu.gemm.tiling import Tiling
from dsc.targets.cpu.inline import Kept
from dsc.targets.cpu.tile import RegisterTile
from dsc.targets.machine import MultiplyAdd
from dsc.targets.tir.loops import flat, function, when


def write(problem: ChosenProduct, tiling: Tiling, instruction: MultiplyAdd, packed: Packed) -> tirx.PrimFunc:
    """The function that computes `problem`. tiling: its rows are pairs of one choice."""
    with function() as made:
        _Chosen(problem, Frame(problem.product, tiling, instruction, packed)).tasks()
    return made.get()


@dataclass(frozen=True)
class _Sorted:
    """The pairs by their choice."""

    starts: tirx.Buffer
    """Of each matrix's pairs in `pairs`, and where the last one's end."""
    pairs: tirx.Buffer


class _Chosen(Writer):
    def __init__(self, problem: ChosenProduct, frame: Frame) -> None:
        super().__init__(frame)
        self.problem = problem
        assert self.source.weight is not None
        self.weights = flat(frame.packed[self.source.weight][0])

    def tasks(self) -> None:
        """The whole product."""
        loops = self.loops
        with self.strips() as first:
            found = self._sorted()
            with loops.each(self._panels_from(first)) as i, loops.each(self.problem.matrices) as matrix:
                self._matrix(found, T.Bind(first + i), matrix)

    def _choice(self, pair: Expr) -> Expr:
        at = self.loops.unravel(pair, dims(self.problem.choice.shape))
        index = wrapped(self.frame.buffers[self.problem.choice][tuple(at)], self.problem.matrices)
        return T.Bind(index.astype(self.loops.dtype))

    def _sorted(self) -> _Sorted:
        """Sorts by counting: equal choices stay in order."""
        loops, matrices, pairs = self.loops, self.problem.matrices, self.problem.pairs
        starts = T.alloc_buffer((matrices + 1,), loops.dtype)
        ends = T.alloc_buffer((matrices,), loops.dtype)
        order = T.alloc_buffer((pairs,), loops.dtype)
        with loops.each(matrices) as matrix:
            T.buffer_store(ends, loops.const(0), [matrix])
        with loops.each(pairs) as pair:
            matrix = self._choice(pair)
            T.buffer_store(ends, ends[matrix] + 1, [matrix])
        T.buffer_store(starts, loops.const(0), [loops.const(0)])
        with loops.each(matrices) as matrix:
            T.buffer_store(starts, starts[matrix] + ends[matrix], [matrix + 1])
            T.buffer_store(ends, starts[matrix], [matrix])
        with loops.each(pairs) as pair:
            matrix = self._choice(pair)
            T.buffer_store(order, pair, [ends[matrix]])
            T.buffer_store(ends, ends[matrix] + 1, [matrix])
        return _Sorted(starts, order)

    def _matrix(self, found: _Sorted, panel: Expr, matrix: Expr) -> None:
        """One panel of a matrix, by all pairs that chose it: tiles of rows, and those that are left one by one."""
        rows = self.tiling.rows
        first = T.Bind(found.starts[matrix])
        count = T.Bind(found.starts[matrix + 1] - first)
        size = self.problem.depth * self.tiling.columns
        base = T.Bind((matrix * self.loops.const(self.frame.panels) + panel) * size)
        tiles = T.Bind(tirx.floordiv(count, rows))
        with self.loops.each(tiles) as tile:
            self._rows(found, T.Bind(first + tile * rows), rows, panel, base)
        if rows > 1:
            with self.loops.each(count - tiles * rows) as rest:
                self._rows(found, T.Bind(first + tiles * rows + rest), 1, panel, base)

    def _rows(self, found: _Sorted, first: Expr, rows: int, panel: Expr, base: Expr) -> None:
        """Some neighbouring pairs of one choice."""
        loops, tiling = self.loops, self.tiling
        pairs = [T.Bind(found.pairs[first + i]) for i in range(rows)]
        tasks = [Task(pair, loops.unravel(pair, self.source.batch), loops.const(0), 1) for pair in pairs]
        elements = [self.operands.element_of_a(task, loops.const(0)) for task in tasks]
        tile = RegisterTile(self.instruction, rows, tiling.columns, tiling.lanes)
        tile.clear()
        with loops.each(self.problem.depth) as k:
            start = T.Bind(base + k * tiling.columns)
            vectors = [self.weights[loops.span(start + column, lanes)] for column, lanes in tile.vectors]
            tile.step([T.Bind(element(k)) for element in elements], vectors)
        kept = Kept(self.source.kept, tiling.lanes)
        for is_full, width in self.frame.widths(panel):
            assert isinstance(width, int)  # sizes are known
            with when(is_full):
                for i, task in enumerate(tasks):
                    self._store(Place(task, loops.const(0), panel), loops.const(0), width, tile.sums, i, kept)
