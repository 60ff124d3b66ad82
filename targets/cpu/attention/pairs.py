"""Attention in pairs of bfloat16: neighbours of the depth in the first product, of the keys in the second.

A pair is an integer of 32 bits, which lies where one float32 does otherwise. All factors are rounded by vectors: those
of a row as they lie, and then two rows, one above the other, into one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tvm import tirx
from tvm.ir import Expr
from tvm.tirx.script.builder import ir as T

from dsc.lower.rounding import rounded
from dsc.targets.cpu.attention.code import Block, Writer
from dsc.targets.cpu.attention.factors import by_reciprocals, pair
from dsc.targets.cpu.functions.polynomials import near_exp
from dsc.targets.cpu.tile import reinterpreted
from dsc.targets.cpu.turn import turned
from dsc.targets.tir.loops import Vectors, pieces


class InPairs(Writer):
    """Where depth and keys are even, and values fill vectors."""

    element, together = "uint32", 2

    def transpose(self, block: Block, queries: tirx.Buffer) -> None:
        """Rows are rounded as they lie, as many as a vector has lanes; then their pairs are put below each other, in
        squares that are turned in registers, and one by one where the depth has no whole square."""
        lanes, steps = self.blocking.lanes, self.problem.depth // 2
        bits = T.alloc_buffer((lanes, self.problem.depth), "uint16")
        with self.loops.each(self.blocking.vectors) as vector:
            start = vector * lanes
            with self.loops.each(lanes) as row:
                s = T.Bind(self.query(block.first + start + row))
                self._round(lambda d: self.of(self.problem.q, block, [s, d]), bits, [row])
            with self.loops.each(steps // lanes) as square:
                first = square * lanes
                pairs = [bits[i, self.loops.span(2 * first, 2 * lanes)] for i in range(lanes)]
                rows = [T.Bind(reinterpreted(row, f"{self.element}x{lanes}")) for row in pairs]
                for i, column in enumerate(turned(rows)):
                    T.buffer_store(queries, column, [first + i, self.loops.span(start, lanes)])
            with self.loops.each(steps % lanes) as rest, self.loops.each(lanes) as row:
                step = steps // lanes * lanes + rest
                T.buffer_store(queries, self._neighbours(bits, [row], step), [step, start + row])

    def keys(self, block: Block, keys: Sequence[Expr]) -> Callable[[int, Expr, Expr], Expr]:
        """Rounded for a tile, where each element is read for all queries of the block."""
        bits = T.alloc_buffer((len(keys), self.problem.depth), "uint16")
        for i, key in enumerate(keys):

            def element(d: Expr, key: Expr = key) -> Expr:
                return self.of(self.problem.k, block, [d, key])

            self._round(element, bits, [self.loops.const(i)])
        return lambda i, _, step: self._neighbours(bits, [self.loops.const(i)], step)

    def score(self, value: Expr) -> Expr:
        """Without divisions by numbers: vectors of quotients take ten times as long as products."""
        return by_reciprocals(value)

    def factors(self, scores: tirx.Buffer, largest: tirx.Buffer, scale: tirx.Buffer) -> tirx.Buffer:
        """Exponentials of two rows in one, as near as pairs have them."""
        made = T.alloc_buffer((self._steps, self.blocking.rows), self.element)
        both = Vectors(2, self.blocking.lanes)
        with self.present.each(2) as step:
            for start in self.columns:
                with self.lanes() as lane:
                    column = start + lane
                    for i in range(2):
                        exponential = near_exp(scores[2 * step + i, column] - largest[column])
                        T.buffer_store(both.buffer, exponential, [i * both.lanes + lane])
                        T.buffer_store(scale, scale[column] + both.element(i, lane), [column])
                    T.buffer_store(made, pair(both.element(0, lane), both.element(1, lane)), [step, column])
        return made

    def weights(self, block: Block, scores: tirx.Buffer, scale: tirx.Buffer) -> tirx.Buffer:
        """Two rows of weights in one."""
        super().weights(block, scores, scale)
        made = T.alloc_buffer((self._steps, self.blocking.rows), self.element)
        with self.present.each(2) as step:
            for start in self.columns:
                with self.lanes() as lane:
                    both = (scores[2 * step + i, start + lane] for i in range(2))
                    T.buffer_store(made, pair(*both), [step, start + lane])
        return made

    def values(self, block: Block) -> Callable[[Expr, Expr], Expr]:
        """Two rows of values in one, for all tiles of the block."""
        made = T.alloc_buffer((self._steps, self.problem.width), self.element)
        with self.present.each(2) as step:
            for start, width in pieces(self.problem.width, self.machine.lanes()):
                with self.loops.each(width, T.vectorized) as lane:
                    both = (self.of(self.problem.v, block, [2 * step + i, start + lane]) for i in range(2))
                    T.buffer_store(made, pair(*both), [step, start + lane])
        return lambda step, e: made[step, e]

    def _round(self, element: Callable[[Expr], Expr], bits: tirx.Buffer, at: Sequence[Expr]) -> None:
        """A row of the depth, by vectors."""
        for start, width in pieces(self.problem.depth, self.machine.lanes()):
            with self.loops.each(width, T.vectorized) as lane:
                T.buffer_store(bits, rounded(element(start + lane)), [*at, start + lane])

    def _neighbours(self, bits: tirx.Buffer, at: Sequence[Expr], step: Expr) -> Expr:
        return tirx.reinterpret("uint32", bits[(*at, self.loops.span(2 * step, 2))])
