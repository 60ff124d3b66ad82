"""The code of a product by a weight of few bits: that of `cpu.gemm`, with floats made of words where it reads them.

A word holds neighbours of the depth in one column. Shifted up and down again, a vector of words is a vector of a row,
its sign extended; then it is converted. Where few rows are multiplied, that is done in registers, sums are taken for
each group by itself, and multiplied by its scale at the end. Where there are many, each task makes floats of a panel
first, which it then multiplies all of its rows by.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

from tvm import tirx
from tvm.ir import Expr
from tvm.tirx.script.builder import ir as T

from dsc.targets.cpu.gemm.code import Multiply, Writer
from dsc.targets.cpu.gemm.frame import Frame, Packed, Task
from dsc.targets.cpu.gemm.operands import Row
from dsc.targets.cpu.gemm.tiling import Tiling
from dsc.targets.cpu.tile import RegisterTile, Tile
from dsc.targets.cpu.weight_only.problem import WORD, WeightOnlyProduct
from dsc.targets.machine import MultiplyAdd
from dsc.targets.tir.loops import function, pieces, spread


def write(
    problem: WeightOnlyProduct, tiling: Tiling, instruction: MultiplyAdd, packed: Packed, in_registers: bool
) -> tirx.PrimFunc:
    """The function that computes `problem`; its floats stay in registers, or are made a panel at a time."""
    kind = _InRegisters if in_registers else _InPanels
    with function() as made:
        kind(problem, Frame(problem.product, tiling, instruction, packed)).tasks()
    return made.get()


class _Weights:
    """Vectors of one panel's weight, and of what belongs to its groups."""

    def __init__(self, problem: WeightOnlyProduct, frame: Frame, panel: Expr) -> None:
        self.problem, self.frame, self.panel, self.loops = problem, frame, panel, frame.loops
        self.vectors = list(pieces(frame.tiling.columns, frame.tiling.lanes))

    def groups(self) -> Iterator[tuple[Expr, int]]:
        """Each group with its size: a loop over those that are whole, then the last."""
        problem = self.problem
        whole = problem.depth // problem.size
        with self.loops.each(whole) as group:
            yield group, problem.size
        if problem.depth % problem.size:
            yield self.loops.const(whole), problem.depth % problem.size

    def steps(self, group: Expr, size: int) -> Iterator[tuple[Expr, int]]:
        """Each word of a group with the integers that are in it, likewise."""
        each = self.problem.in_a_word
        first = group * (self.problem.size // each)
        with self.loops.each(size // each) as word:
            yield first + word, each
        if size % each:
            yield first + size // each, size % each

    def words(self, word: Expr) -> list[Expr]:
        """The vectors of a row of words."""
        (buffer,) = self.frame.packed[self.problem.integers]
        return [T.Bind(buffer[self.panel, word, self.span(v)]) for v in range(len(self.vectors))]

    def scales(self, group: Expr) -> list[Expr]:
        """Vectors of the scales of a group."""
        return self._of_group(self.problem.scales, group)

    def zeros(self, group: Expr) -> list[Expr] | None:
        """Vectors of the zero points of a group, if there are any."""
        if self.problem.zeros is None:
            return None
        return [_as_floats(zero) for zero in self._of_group(self.problem.zeros, group)]

    def _of_group(self, position: int, group: Expr) -> list[Expr]:
        (buffer,) = self.frame.packed[position]
        return [buffer[self.panel, group, self.span(v)] for v in range(len(self.vectors))]

    def span(self, vector: int) -> Expr:
        return self.loops.span(*self.vectors[vector])

    def floats(self, word: Expr, place: int, vector: int, zeros: Sequence[Expr] | None) -> Expr:
        """The integers at one place of a vector of words, less their zero points."""
        bits, lanes = self.problem.encoding.bits, self.vectors[vector][1]

        def number(value: int) -> Expr:
            return spread(tirx.const(value, "int32"), lanes)

        above = WORD - bits * (place + 1)
        if self.problem.encoding.signed:
            found = _shifted(tirx.shift_left, word, number(above), above)
            found = tirx.shift_right(found, number(WORD - bits))
        else:
            found = _shifted(tirx.shift_right, word, number(bits * place), place)
            found = tirx.bitwise_and(found, number((1 << bits) - 1))
        value = _as_floats(found)
        return value if zeros is None else value - zeros[vector]


def _as_floats(integers: Expr) -> Expr:
    lanes = integers.ty.dtype.lanes
    return integers.astype("float32" if lanes == 1 else f"float32x{lanes}")


def _shifted(shift: Callable[[Expr, Expr], Expr], value: Expr, by: Expr, amount: int) -> Expr:
    return shift(value, by) if amount else value


class _InRegisters(Writer):
    """Few rows: no float is stored."""

    def __init__(self, problem: WeightOnlyProduct, frame: Frame) -> None:
        super().__init__(frame)
        self.problem = problem

    def multiplier(self, task: Task, panel: Expr) -> Multiply:
        """Multiplies by the words as they are."""
        weights = _Weights(self.problem, self.frame, panel)
        return lambda tile, rows: self._groups(tile, rows, weights)

    def _groups(self, tile: Tile, rows: Sequence[Row], weights: _Weights) -> None:
        """The sums of each group, times its scales."""
        tiling = self.tiling
        assert isinstance(tile, RegisterTile)  # of a row and vectors, as those of floats are
        for group, size in weights.groups():
            part = RegisterTile(self.instruction, tiling.rows, tiling.columns, tiling.lanes)
            part.clear()
            zeros = weights.zeros(group)
            for word, count in weights.steps(group, size):
                self._word(part, rows, weights, word, count, zeros)
            scales = weights.scales(group)
            for i in range(tiling.rows):
                for v in range(len(tile.vectors)):
                    tile.multiply_add(i, v, part[i, v], scales[v])

    def _word(
        self, part: RegisterTile, rows: Sequence[Row], weights: _Weights, word: Expr, count: int,
        zeros: Sequence[Expr] | None,
    ) -> None:  # fmt: skip
        """The steps of the depth that are in one row of words."""
        words, first = weights.words(word), word * self.problem.in_a_word

        def floats(start: int, lane: int) -> list[Expr]:
            return [weights.floats(vector, start + lane, v, zeros) for v, vector in enumerate(words)]

        together = self.tiling.depth if count % self.tiling.depth == 0 else 1
        for start in range(0, count, together):
            part.steps([row(first + start, together) for row in rows], partial(floats, start))


class _InPanels(Writer):
    """Many rows: each task makes floats of a panel in memory of its own."""

    def __init__(self, problem: WeightOnlyProduct, frame: Frame) -> None:
        super().__init__(frame)
        self.problem = problem

    def multiplier(self, task: Task, panel: Expr) -> Multiply:
        """Makes the floats, and multiplies by them."""
        floats = self._floats(_Weights(self.problem, self.frame, panel))
        return lambda tile, rows: self.multiply(tile, rows, lambda k, column: floats[k, column])

    def _floats(self, weights: _Weights) -> tirx.Buffer:
        scratch = T.alloc_buffer((self.problem.depth, self.tiling.columns), "float32")
        for group, size in weights.groups():
            scales, zeros = weights.scales(group), weights.zeros(group)
            for word, count in weights.steps(group, size):
                for v, vector in enumerate(weights.words(word)):
                    for place in range(count):
                        value = weights.floats(vector, place, v, zeros) * scales[v]
                        T.buffer_store(scratch, value, [word * self.problem.in_a_word + place, weights.span(v)])
        return scratch
