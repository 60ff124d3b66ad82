"""From the results in a warp's registers to memory, by way of shared memory.

Neighbouring lanes have pieces of different queries. So warps write the results of one matrix of queries after another
side by side into shared memory, and lanes read neighbours of a query there, and store neighbours in memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tvm import tirx
from tvm.ir import Expr
from tvm.tirx.script.builder import ir as T

from dsc.lower.exprs import ceildiv, dims, divides
from dsc.targets.cpu.attention.problem import Problem
from dsc.targets.gpu.access import VECTOR_TYPES, Access, linear
from dsc.targets.gpu.launch import shared_out, synchronize
from dsc.targets.gpu.matrix_attention.blocking import Shape
from dsc.targets.gpu.matrix_attention.softmax import Sums
from dsc.targets.gpu.tile import unrolled
from dsc.targets.tir.loops import Loops, when

VECTOR = 4
"""Elements of a query that a lane reads at once."""


@dataclass(frozen=True)
class Warp:
    """Which queries are a warp's, and which of its threads is at work."""

    batch: Sequence[Expr]
    query: Expr
    """The first one."""
    index: Expr
    """In the block."""
    lane: Expr


class Results:
    """Stores what a block computed."""

    def __init__(self, problem: Problem, shape: Shape, output: tirx.Buffer, loops: Loops) -> None:
        """output: as one long array."""
        self.problem, self.shape, self.output, self.loops = problem, shape, output, loops
        self.vector = _vector(problem)

    def store(self, sums: Sums, shared: tirx.Buffer, warp: Warp, warp_size: int) -> None:
        """All results of a block's warps, in `shared`, which others may still read."""
        lines = self.shape.chain.lines
        base = T.Bind(warp.index * (lines * self.shape.strip_stride))
        with unrolled(sums.down) as down:
            synchronize()
            self._write(sums, down, shared, base, warp.lane)
            synchronize()
            self._read(shared, base, T.Bind(warp.query + down * lines), warp, warp_size)

    def _write(self, sums: Sums, down: Expr, shared: tirx.Buffer, base: Expr, lane: Expr) -> None:
        """A matrix of queries, by the neighbours that a lane has of it."""
        chain, own = self.shape.chain, Loops()
        with unrolled(sums.across) as j:
            for register in range(0, chain.fragments.sums, chain.run):
                line, place = chain.place(lane, register)
                word = base + line * self.shape.strip_stride + place + j * chain.across
                value = sums.registers[own.span(sums.first(down, j) + register, chain.run)]
                T.buffer_store(shared, value, [self.loops.span(word, chain.run)])

    def _read(self, shared: tirx.Buffer, base: Expr, first: Expr, warp: Warp, warp_size: int) -> None:
        """The same, query by query: neighbouring lanes have neighbouring vectors. `first`: the first query."""
        problem, stride = self.problem, self.shape.strip_stride
        across = ceildiv(problem.width, VECTOR)
        with shared_out(self.shape.chain.lines * across, warp_size, warp.lane, self.loops) as place:
            line, vector = self.loops.split(place, across)
            query = T.Bind(first + line)
            with when(
                None if divides(self.shape.queries, problem.queries) else query < self.loops.const(problem.queries)
            ):
                sums = T.alloc_buffer((VECTOR,), shared.dtype, scope="local")
                word = base + line * stride + vector * VECTOR
                T.buffer_store(sums, shared[self.loops.span(word, VECTOR)], [Loops().span(0, VECTOR)])
                self._query([*warp.batch, query], T.Bind(vector * VECTOR), sums)

    def _query(self, at: Sequence[Expr], first: Expr, sums: tirx.Buffer) -> None:
        """Neighbours of a query, from element `first` on, as many at once as are side by side in memory."""
        problem, own = self.problem, Loops()
        with unrolled(VECTOR // self.vector) as group:
            element = T.Bind(first + group * self.vector)
            with when(None if divides(VECTOR, problem.width) else element < self.loops.const(problem.width)):
                stored = T.alloc_buffer((self.vector,), self.output.dtype, scope="local")
                with unrolled(self.vector) as v:
                    T.buffer_store(stored, problem.stored(sums[group * self.vector + v]), [v])
                *batch, query = at
                span = self.loops.span(T.Bind(problem.place(batch, query, element)), self.vector)
                T.buffer_store(self.output, stored[own.span(0, self.vector)], [span])


def _vector(problem: Problem) -> int:
    """Elements of a query that are stored at once."""
    if str(problem.output.dtype) not in VECTOR_TYPES:
        return 1
    sizes = (*problem.batch, problem.queries, problem.width)
    variables = tuple(tirx.Var(f"i{axis}", str(tirx.convert(size).ty)) for axis, size in enumerate(sizes))
    *batch, query, element = variables
    line = linear(problem.place(batch, query, element), variables)
    if line is None:
        return 1
    access = Access(problem.output, variables, tuple(dims(sizes)), *line, None)
    return access.vector([len(sizes) - 1], VECTOR)
