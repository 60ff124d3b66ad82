"""A weight of few bits as code sees it: words of a panel, and the vectors of floats that are in them.

A word holds neighbours of the depth in one column. Shifted up and down again, a vector of words is a vector of a row,
its sign extended; unsigned integers are shifted down and masked. Then they are converted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from tvm import tirx
from tvm.ir import Expr
from tvm.tirx.script.builder import ir as T

from dsc.targets.cpu.gemm.frame import Frame
from dsc.targets.cpu.weight_only.problem import WORD, WeightOnlyProduct
from dsc.targets.tir.loops import pieces, spread

Body: TypeAlias = Callable[[Expr, int], None]
"""Writes statements for an index, and how much is there."""


class Weights:
    """Vectors of one panel's weight, and of what belongs to its groups."""

    def __init__(self, problem: WeightOnlyProduct, frame: Frame, panel: Expr) -> None:
        self.problem, self.frame, self.panel, self.loops = problem, frame, panel, frame.loops
        self.vectors = list(pieces(frame.tiling.columns, frame.tiling.lanes))

    def each_group(self, body: Body) -> None:
        """Writes `body` of each group and its size: a loop over those that are whole, then the last."""
        problem = self.problem
        whole = problem.depth // problem.size
        with self.loops.each(whole) as group:
            body(group, problem.size)
        if problem.depth % problem.size:
            body(self.loops.const(whole), problem.depth % problem.size)

    def each_word(self, group: Expr, size: int, body: Body) -> None:
        """Writes `body` of each row of words of a group, and how many integers are in one of its words, likewise."""
        each = self.problem.in_a_word
        first = group * (self.problem.size // each)
        with self.loops.each(size // each) as word:
            body(first + word, each)
        if size % each:
            body(first + size // each, size % each)

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
        """Where a vector lies in a row."""
        return self.loops.span(*self.vectors[vector])

    def floats(self, word: Expr, place: int, vector: int, zeros: Sequence[Expr] | None) -> Expr:
        """The integers at one place of a vector of words, less their zero points."""
        bits, lanes = self.problem.encoding.bits, self.vectors[vector][1]

        def number(value: int) -> Expr:
            return spread(tirx.const(value, "int32"), lanes)

        above = WORD - bits * (place + 1)
        if self.problem.encoding.signed:
            found = tirx.shift_left(word, number(above)) if above else word
            found = tirx.shift_right(found, number(WORD - bits))
        else:
            found = tirx.shift_right(word, number(bits * place)) if place else word
            found = tirx.bitwise_and(found, number((1 << bits) - 1))
        value = _as_floats(found)
        return value if zeros is None else value - zeros[vector]


def _as_floats(integers: Expr) -> Expr:
    lanes = integers.ty.dtype.lanes
    return integers.astype("float32" if lanes == 1 else f"float32x{lanes}")
