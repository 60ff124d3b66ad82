"""How far products move scores, where a mask removes keys at all.

A product is at most the sum, over the depth, of the largest magnitude among queries times that among keys: of the keys
of each head it is looked up once ahead of the tasks, of the queries by each task, which reads them next.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from tvm import tirx
from tvm.ir import Expr
from tvm.tirx.script.builder import ir as T

from dsc.lower.exprs import Dim, product
from dsc.lower.floats import f32
from dsc.targets.cpu.attention.elements import Elements
from dsc.targets.cpu.attention.masking import Masking
from dsc.targets.cpu.attention.summary import MARGIN, Summary
from dsc.targets.tir.loops import Kind, Loops, pieces, spread, when

ROUNDED = 1.02
"""What roundings may add to a product: two factors of bfloat16 are off by 2^-8 each, sums of float32 by far less."""
MAGNITUDE = 0x7FFFFFFF
"""The bits of a float32 without its sign: as an integer, larger for larger numbers, and largest for NaN."""
FINITE = 0x7F7F0000
"""Those of the largest bfloat16."""


class Reach:
    """Of each element of the batch: whether keys may be skipped, and the largest magnitudes along the depth of them."""

    def __init__(self, masking: Masking, elements: Elements, loops: Loops, lanes: int) -> None:
        """Allocates it in the current frame."""
        self._slope, self._elements, self._loops, self._lanes = masking.slope, elements, loops, lanes
        self._problem = elements.problem
        self._heads = product(self._problem.batch)
        self._removing = T.alloc_buffer((self._heads,), "int32")
        self._keys = T.alloc_buffer((self._heads * self._problem.depth,), "float32")

    def write(self, summary: Summary, kind: Kind) -> None:
        """kind: of the loop over heads."""
        with self._loops.each(self._heads) as head:
            T.buffer_store(self._removing, tirx.const(0, "int32"), [head])
        anything = summary.removes(self._loops.const(0), summary.masks)
        with when(anything), self._loops.each(self._heads, kind) as head:
            batch = self._loops.unravel(head, self._problem.batch)
            with when(summary.removes(summary.first(batch), summary.tiles)):
                self._look_up(head, batch)

    def _look_up(self, head: Expr, batch: Sequence[Expr]) -> None:
        problem, of = self._problem, self._elements.of
        keys = self._largest(problem.keys, problem.depth, lambda i, d: of(problem.k, batch, [d, i]))
        values = self._largest(problem.keys, problem.width, lambda i, e: of(problem.v, batch, [i, e]))
        most = T.alloc_buffer((1,), "int32")
        T.buffer_store(most, tirx.const(0, "int32"), [0])
        for buffer, width in ((keys, problem.depth), (values, problem.width)):
            with self._loops.each(width) as place:
                T.buffer_store(most, tirx.max(most[0], buffer[place]), [0])
        with when(most[0] <= tirx.const(FINITE, "int32")):
            T.buffer_store(self._removing, tirx.const(1, "int32"), [head])
            with self._loops.each(problem.depth) as d:
                place = head * problem.depth + d
                T.buffer_store(self._keys, tirx.reinterpret("float32", keys[d]), [place])

    def of(self, head: Expr, batch: Sequence[Expr], rows: int, query: Callable[[Expr], Expr]) -> Expr:
        """What is to be added to the highest score of a block before it is compared, for a task.

        Infinity, so that all is computed, where the mask removes nothing, and where one of the head is infinite or
        NaN: a weight of 0 times that is NaN. head: `batch` as a number; rows, query: how many queries, and which.
        """
        problem = self._problem
        total = T.alloc_buffer((1,), "float32")
        T.buffer_store(total, tirx.const(math.inf, "float32"), [0])
        with when(tirx.NE(self._removing[head], tirx.const(0, "int32"))):

            def element(row: Expr, d: Expr) -> Expr:
                return self._elements.of(problem.q, batch, [query(row), d])

            queries = self._largest(rows, problem.depth, element)
            T.buffer_store(total, tirx.const(0.0, "float32"), [0])
            with self._loops.each(problem.depth) as d:
                both = tirx.reinterpret("float32", queries[d]) * self._keys[head * problem.depth + d]
                T.buffer_store(total, total[0] + both, [0])
            # a score of the block may be so much more, and the largest so much less
            T.buffer_store(total, total[0] * f32(2 * ROUNDED * self._slope) + f32(MARGIN), [0])
        return T.Bind(total[0])

    def _largest(self, rows: Dim, width: int, element: Callable[[Expr, Expr], Expr]) -> tirx.Buffer:
        """The largest magnitude of each column, as bits."""
        found = T.alloc_buffer((width,), "int32")
        local = T.alloc_buffer((width,), "int32", scope="local")
        for start, lanes in pieces(width, self._lanes):
            T.buffer_store(local, spread(tirx.const(0, "int32"), lanes), [self._loops.span(start, lanes)])
        with self._loops.each(rows) as row:
            for start, lanes in pieces(width, self._lanes):
                with self._loops.each(lanes, T.vectorized) as lane:
                    bits = tirx.reinterpret("int32", element(row, start + lane))
                    magnitude = tirx.bitwise_and(bits, tirx.const(MAGNITUDE, "int32"))
                    T.buffer_store(local, tirx.max(local[start + lane], magnitude), [start + lane])
        for start, lanes in pieces(width, self._lanes):
            span = self._loops.span(start, lanes)
            T.buffer_store(found, local[span], [span])
        return found
