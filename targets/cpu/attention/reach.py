"""How far products move scores, for each head: written ahead of the tasks, where a mask removes keys at all.

A product is at most the sum, over the depth, of the largest magnitudes among queries times those among keys.
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
    """What is to be added to a block's highest score before it is compared, for each element of the batch.

    Infinity, so that all is computed, where nothing is removed, and where a query, key or value is infinite or NaN: a
    weight of 0 times that is NaN, in whatever key of the head.
    """

    def __init__(self, masking: Masking, elements: Elements, loops: Loops, lanes: int) -> None:
        """Allocates it in the current frame."""
        self._slope, self._elements, self._loops, self._lanes = masking.slope, elements, loops, lanes
        self._problem = elements.problem
        self._heads = product(self._problem.batch)
        self._reach = T.alloc_buffer((self._heads,), "float32")

    def __getitem__(self, head: Expr) -> Expr:
        return self._reach[head]

    def write(self, summary: Summary, kind: Kind) -> None:
        """kind: of the loop over heads."""
        with self._loops.each(self._heads) as head:
            T.buffer_store(self._reach, tirx.const(math.inf, "float32"), [head])
        with when(summary.removes(self._loops.const(0), summary.masks)):
            with self._loops.each(self._heads, kind) as head:
                batch = self._loops.unravel(head, self._problem.batch)
                with when(summary.removes(summary.first(batch), summary.tiles)):
                    self._measure(head, batch)

    def _measure(self, head: Expr, batch: Sequence[Expr]) -> None:
        problem, of = self._problem, self._elements.of
        queries = self._largest(problem.queries, problem.depth, lambda i, d: of(problem.q, batch, [i, d]))
        keys = self._largest(problem.keys, problem.depth, lambda i, d: of(problem.k, batch, [d, i]))
        values = self._largest(problem.keys, problem.width, lambda i, e: of(problem.v, batch, [i, e]))
        total, most = T.alloc_buffer((1,), "float32"), T.alloc_buffer((1,), "int32")
        T.buffer_store(total, tirx.const(0.0, "float32"), [0])
        T.buffer_store(most, tirx.const(0, "int32"), [0])
        with self._loops.each(problem.depth) as d:
            both = tirx.reinterpret("float32", queries[d]) * tirx.reinterpret("float32", keys[d])
            T.buffer_store(total, total[0] + both, [0])
            T.buffer_store(most, tirx.max(most[0], tirx.max(queries[d], keys[d])), [0])
        with self._loops.each(problem.width) as e:
            T.buffer_store(most, tirx.max(most[0], values[e]), [0])
        # the largest score may be so much less, and another so much more
        with when(most[0] <= tirx.const(FINITE, "int32")):
            T.buffer_store(self._reach, total[0] * f32(2 * ROUNDED * self._slope) + f32(MARGIN), [head])

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
