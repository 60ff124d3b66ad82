"""The code of attention: a block of threads has some queries of one head, and goes through the keys once.

Of each tile of keys, scores are computed in registers, as tiles of a product. Softmax is taken as far as the keys are
known: each query has the largest of its scores so far and the sum of exponentials relative to it, and what was summed
before is scaled when a larger one comes (online softmax, Milakov and Gimelshein, 2018; FlashAttention, Dao et al.,
2022). The weights go to shared memory, where threads read them that sum the values of their part of the result.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from tvm import te, tirx
from tvm.ir import Expr
from tvm.tirx.script.builder import ir as T

from dsc.lower import functions
from dsc.lower.exprs import Dim, ceildiv, product
from dsc.targets.cpu.attention.problem import Problem
from dsc.targets.cpu.gemm.product import batch_at
from dsc.targets.cpu.inline import Leaf
from dsc.targets.gpu.attention.blocking import Blocking
from dsc.targets.gpu.elements import Elements
from dsc.targets.gpu.launch import Group, launch, shared_out, synchronize
from dsc.targets.gpu.machine import Gpu
from dsc.targets.gpu.tile import RegisterTile, unrolled
from dsc.targets.machine import MultiplyAdd
from dsc.targets.tir.loops import Loops, argument, flat, function, when


def write(problem: Problem, blocking: Blocking, instruction: MultiplyAdd, machine: Gpu) -> tirx.PrimFunc:
    """The function that computes `problem`."""
    with function() as made:
        _Writer(problem, blocking, instruction, machine).write()
    return made.get()


@dataclass(frozen=True)
class _Thread:
    """Where a thread is."""

    at: list[Expr]
    """Coordinates of the batch."""
    first: Expr
    """The first query of its block."""
    index: Expr
    """In the block."""
    down: Expr
    """Which rows are its own."""
    across: Expr
    """Which columns."""


class _Shared:
    """What the threads of a block share of one tile of keys."""

    def __init__(self, problem: Problem, blocking: Blocking) -> None:
        """Allocates it in the current frame."""

        def memory(rows: int, columns: int) -> tirx.Buffer:
            return T.alloc_buffer((rows, columns), "float32", scope="shared")

        self.queries = memory(problem.depth, blocking.queries + 1)
        self.keys = memory(problem.depth, blocking.keys + 1)
        self.values = memory(blocking.keys, problem.width)
        self.weights = memory(blocking.queries, blocking.keys + 1)


class _Rows:
    """What a thread knows of its queries so far."""

    def __init__(self, count: int) -> None:
        """Allocates it, as it is before the first key."""
        self.largest, self.sum, self.scale, self.partial = (
            T.alloc_buffer((count,), "float32", scope="local") for _ in range(4)
        )
        self.one: tirx.Buffer = T.alloc_buffer((1,), "float32", scope="local")
        """A number that threads put together."""
        with unrolled(count) as i:
            T.buffer_store(self.largest, tirx.min_value("float32"), [i])
            T.buffer_store(self.sum, tirx.const(0.0, "float32"), [i])


class _Writer:
    def __init__(self, problem: Problem, blocking: Blocking, instruction: MultiplyAdd, machine: Gpu) -> None:
        self.problem, self.blocking, self.instruction, self.machine = problem, blocking, instruction, machine
        self.loops = Loops.over(problem.params)

    def write(self) -> None:
        """Declares the parameters and writes the kernel."""
        problem, blocking, loops = self.problem, self.blocking, self.loops
        self.buffers = {t: argument(f"in{i}", t.shape, t.dtype) for i, t in enumerate(problem.params)}
        for scalar in problem.scalars:
            T.arg(scalar.name, scalar)
        self.output = flat(argument("out0", problem.output.shape, problem.output.dtype))
        loops.assume(problem.assumed)
        blocks = ceildiv(problem.queries, blocking.queries)
        with launch(product(problem.batch) * blocks, blocking.threads, loops) as (index, thread):
            head, block = loops.split(index, blocks)
            down, across = loops.split(thread, blocking.across)
            at = loops.unravel(head, problem.batch)
            self._block(_Thread(at, T.Bind(block * blocking.queries), thread, down, across))

    def _block(self, thread: _Thread) -> None:
        problem, blocking = self.problem, self.blocking
        shared, rows = _Shared(problem, blocking), _Rows(blocking.rows)
        results = RegisterTile(self.instruction, blocking.rows, blocking.outputs(problem.width))
        results.clear()
        self._copy(
            shared.queries, blocking.queries, problem.depth, thread,
            lambda s, d: self._element(problem.q, thread, [self._query(thread.first + s), d]),
        )  # fmt: skip
        with self.loops.each(ceildiv(problem.keys, blocking.keys)) as tile:
            first = T.Bind(tile * blocking.keys)
            self._load(shared, thread, first)
            synchronize()
            scores = self._scores(shared, thread)
            self._softmax(scores, rows, results, shared, thread, first)
            synchronize()
            self._weigh(shared, results, thread)
            synchronize()
        self._store(results, rows, thread)

    # --- what is in shared memory

    def _load(self, shared: _Shared, thread: _Thread, first: Expr) -> None:
        """A tile of keys and of values; beyond the last key, that again."""
        problem, blocking = self.problem, self.blocking
        self._copy(
            shared.keys, blocking.keys, problem.depth, thread,
            lambda t, d: self._element(problem.k, thread, [d, self._key(first + t)]),
        )  # fmt: skip
        count = blocking.keys * problem.width
        with self._shared_out(count, thread) as place:
            t, e = self.loops.split(place, problem.width)
            T.buffer_store(shared.values, self._element(problem.v, thread, [self._key(first + t), e]), [t, e])

    def _copy(
        self, to: tirx.Buffer, width: int, depth: int, thread: _Thread, element: Callable[[Expr, Expr], Expr]
    ) -> None:
        """``to[d, i] = element(i, d)``: neighbouring threads load neighbours in depth, as heads lie in memory."""
        with self._shared_out(width * depth, thread) as place:
            i, d = self.loops.split(place, depth)
            T.buffer_store(to, element(i, d), [d, i])

    def _shared_out(self, count: int, thread: _Thread) -> AbstractContextManager[Expr]:
        return shared_out(count, self.blocking.threads, thread.index, self.loops)

    # --- scores and softmax

    def _scores(self, shared: _Shared, thread: _Thread) -> RegisterTile:
        """Products of the thread's queries and keys."""
        blocking = self.blocking
        tile = RegisterTile(self.instruction, blocking.rows, blocking.columns)
        tile.clear()
        with self.loops.each(self.problem.depth) as d:
            with unrolled(blocking.rows) as i:
                T.buffer_store(tile.a, shared.queries[d, thread.down * blocking.rows + i], [i])
            with unrolled(blocking.columns) as j:
                T.buffer_store(tile.b, shared.keys[d, j * blocking.across + thread.across], [j])
            tile.step()
        return tile

    def _softmax(
        self, scores: RegisterTile, rows: _Rows, results: RegisterTile, shared: _Shared, thread: _Thread, first: Expr
    ) -> None:
        """Weights relative to the largest score so far, to shared memory; sums and results scaled to it."""
        blocking, zero = self.blocking, tirx.const(0.0, "float32")
        group = Group(self.machine, blocking.across, thread.index, self.loops)
        ragged = not (isinstance(self.problem.keys, int) and self.problem.keys % blocking.keys == 0)
        with unrolled(blocking.rows) as i:
            row = thread.down * blocking.rows + i
            query = T.Bind(self._query(thread.first + row))
            T.buffer_store(rows.one, rows.largest[i], [0])
            with unrolled(blocking.columns) as j:
                key = T.Bind(self._key(first + j * blocking.across + thread.across))
                score = self._score(thread, query, key, scores[i, j])
                T.buffer_store(scores.sums, score, [i * blocking.columns + j])
                T.buffer_store(rows.one, tirx.max(rows.one[0], scores[i, j]), [0])
            group.reduce(rows.one, tirx.max)
            T.buffer_store(rows.scale, functions.exp(rows.largest[i] - rows.one[0]), [i])
            T.buffer_store(rows.largest, rows.one[0], [i])
            T.buffer_store(rows.one, zero, [0])
            with unrolled(blocking.columns) as j:
                column = j * blocking.across + thread.across
                weight = functions.exp(scores[i, j] - rows.largest[i])
                inside = first + column < self.loops.const(self.problem.keys)
                T.buffer_store(rows.partial, tirx.Select(inside, weight, zero) if ragged else weight, [i])
                T.buffer_store(shared.weights, rows.partial[i], [row, column])
                T.buffer_store(rows.one, rows.one[0] + rows.partial[i], [0])
            group.reduce(rows.one, lambda a, b: a + b)
            T.buffer_store(rows.sum, rows.sum[i] * rows.scale[i] + rows.one[0], [i])
            with unrolled(results.columns) as j:
                place = i * results.columns + j
                T.buffer_store(results.sums, results.sums[place] * rows.scale[i], [place])

    def _score(self, thread: _Thread, query: Expr, key: Expr, value: Expr) -> Expr:
        """An element of the scores, with scale and mask, from that of the product."""
        elements = Elements({**self._leaves(), self.problem.product: lambda _: value})
        return elements.at(self.problem.scores, [*thread.at, query, key])

    # --- the second product

    def _weigh(self, shared: _Shared, results: RegisterTile, thread: _Thread) -> None:
        """Adds the values of a tile of keys, times their weights."""
        blocking, width = self.blocking, self.problem.width
        with self.loops.each(blocking.keys) as t:
            with unrolled(blocking.rows) as i:
                T.buffer_store(results.a, shared.weights[thread.down * blocking.rows + i, t], [i])
            with unrolled(results.columns) as j:
                column = j * blocking.across + thread.across
                at = column if width % blocking.across == 0 else tirx.min(column, self.loops.const(width - 1))
                T.buffer_store(results.b, shared.values[t, at], [j])
            results.step()

    def _store(self, results: RegisterTile, rows: _Rows, thread: _Thread) -> None:
        """The results over the sums of their weights."""
        problem, blocking, const = self.problem, self.blocking, self.loops.const
        one, zero = (tirx.const(value, "float32") for value in (1.0, 0.0))
        with unrolled(blocking.rows) as i:
            query = T.Bind(thread.first + thread.down * blocking.rows + i)
            with when(query < const(problem.queries)), unrolled(results.columns) as j:
                column = T.Bind(j * blocking.across + thread.across)
                with when(None if problem.width % blocking.across == 0 else column < const(problem.width)):
                    value = results[i, j] * (one / rows.sum[i])
                    if problem.guarded:
                        value = tirx.Select(rows.sum[i] > zero, value, zero)
                    if not isinstance(problem.keys, int):  # the sum of no products is 0
                        value = tirx.Select(tirx.EQ(problem.keys, const(0)), zero, value)
                    T.buffer_store(self.output, problem.stored(value), [problem.place(thread.at, query, column)])

    # --- elements

    def _query(self, s: Expr) -> Expr:
        return self._within(s, self.problem.queries, self.blocking.queries)

    def _key(self, t: Expr) -> Expr:
        return self._within(t, self.problem.keys, self.blocking.keys)

    def _within(self, index: Expr, size: Dim, tile: int) -> Expr:
        """`index`, or the last one where tiles go beyond it."""
        if isinstance(size, int) and size % tile == 0:
            return index
        return tirx.max(tirx.min(index, self.loops.const(size) - 1), self.loops.const(0))

    def _element(self, tensor: te.Tensor, thread: _Thread, at: Sequence[Expr]) -> Expr:
        leading = batch_at(tensor.shape[:-2], self.problem.batch, thread.at)
        return Elements(self._leaves()).at(tensor, [*leading, *at])

    def _leaves(self) -> dict[te.Tensor, Leaf]:
        def load(buffer: tirx.Buffer) -> Leaf:
            return lambda indices: buffer[tuple(indices)]

        return {tensor: load(buffer) for tensor, buffer in self.buffers.items()}
