"""The code of attention: a task is a block of queries of one head, whose scores never leave the cache.

The block's queries are transposed to ``[depth][rows]``, so that its scores are computed as ``[keys][rows]``:
a key is read where it lies, one scalar at a time, the softmax runs down the columns without any horizontal
operation, and the second product reads the values where they lie, in vectors along their width. Nothing else
is copied. Ragged blocks compute the last query or key again: what is double is neither summed nor stored.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tvm import te, tirx
from tvm.ir import Expr
from tvm.script.ir_builder import IRBuilder
from tvm.tirx.script.builder import ir as T

from dsc.lower import functions
from dsc.lower.exprs import ceildiv, dims, product
from dsc.targets.cpu.attention.problem import Problem
from dsc.targets.cpu.frames import Frames
from dsc.targets.cpu.gemm.product import batch_at
from dsc.targets.cpu.inline import Inliner, Kept, Leaf


@dataclass(frozen=True)
class Blocking:
    """A point of the design space."""

    lanes: int
    vectors: int
    """Vectors of queries in a block."""
    keys: int
    """Rows of the tile of the first product."""
    queries: int
    """Rows of the tile of the second product; divides those of the block."""
    widths: int
    """Vectors in a row of the tile of the second product."""
    parallel: bool = True

    @property
    def rows(self) -> int:
        """Queries in a block."""
        return self.lanes * self.vectors


def write(problem: Problem, blocking: Blocking, lanes: int) -> tirx.PrimFunc:
    """The function that computes `problem`; `lanes` is the width of vectors along the values."""
    with IRBuilder() as builder, T.prim_func(private=True, s_tir=True):
        T.func_attr({"tirx.noalias": True})
        _Writer(problem, blocking, lanes).write()
    return builder.get()


@dataclass(frozen=True)
class _Block:
    """Where a task is."""

    at: list[Expr]
    """Coordinates of the batch."""
    first: Expr
    """Its first query."""


class _Writer:
    def __init__(self, problem: Problem, blocking: Blocking, lanes: int) -> None:
        self.problem, self.blocking = problem, blocking
        self.frames = Frames.of(problem.params)
        self.blocks = ceildiv(problem.queries, blocking.rows)
        self.ragged = not (isinstance(problem.queries, int) and problem.queries % blocking.rows == 0)
        self.width_vectors = [(start, min(lanes, problem.width - start)) for start in range(0, problem.width, lanes)]

    def write(self) -> None:
        """Declares the parameters and writes the tasks."""
        self.buffers = {
            tensor: T.arg(f"in{i}", T.buffer(tensor.shape, tensor.dtype))
            for i, tensor in enumerate(self.problem.params)
        }
        for scalar in self.problem.scalars:
            T.arg(scalar.name, scalar)
        shape = self.problem.output.shape
        output = T.arg("out0", T.buffer(shape, self.problem.output.dtype))
        self.output = T.decl_buffer((product(dims(shape)),), self.problem.output.dtype, data=output.data)
        self.frames.assume(self.problem.assumed)
        heads = product(self.problem.batch)
        with self.frames.loop(heads * self.blocks, T.parallel if self.blocking.parallel else T.serial) as task:
            head, block = self.frames.split(task, self.blocks)
            self._task(_Block(self.frames.unravel(head, self.problem.batch), block * self.blocking.rows))

    def _task(self, block: _Block) -> None:
        problem, rows = self.problem, self.blocking.rows
        queries = T.alloc_buffer((problem.depth, rows), "float32")
        padded = ceildiv(problem.keys, self.blocking.keys) * self.blocking.keys
        scores = T.alloc_buffer((padded, rows), "float32")
        largest = T.alloc_buffer((rows,), "float32", scope="local")
        scale = T.alloc_buffer((rows,), "float32", scope="local")
        self._transpose(block, queries)
        self._fill(largest, tirx.min_value("float32"))
        with self.frames.loop(ceildiv(problem.keys, self.blocking.keys)) as tile:
            self._score(block, tile * self.blocking.keys, queries, scores, largest)
        self._softmax(block, scores, largest, scale)
        with self.frames.loop(rows // self.blocking.queries) as tile:
            for start in range(0, len(self.width_vectors), self.blocking.widths):
                vectors = self.width_vectors[start : start + self.blocking.widths]
                self._weigh(block, tile * self.blocking.queries, vectors, scores, scale)

    # queries and scores

    def _transpose(self, block: _Block, queries: tirx.Buffer) -> None:
        with self.frames.loop(self.blocking.rows) as row:
            s = T.Bind(self._query(block.first + row))
            with self.frames.loop(self.problem.depth) as d:
                T.buffer_store(queries, self._element(self.problem.q, block, [s, d]), [d, row])

    def _score(
        self, block: _Block, first: Expr, queries: tirx.Buffer, scores: tirx.Buffer, largest: tirx.Buffer
    ) -> None:
        """A tile of scores, with scale and mask, and the largest so far of each query."""
        count = self.blocking.keys
        acc = T.alloc_buffer((count, self.blocking.rows), "float32", scope="local")
        exact = isinstance(self.problem.keys, int) and self.problem.keys % count == 0
        last = self.frames.const(self.problem.keys) - 1
        keys = [T.Bind(first + i if exact else tirx.min(first + i, last)) for i in range(count)]
        for i in range(count):
            self._fill(acc, tirx.const(0.0, "float32"), i)
        with self.frames.loop(self.problem.depth) as d:
            scalars = [T.Bind(self._element(self.problem.k, block, [d, key])) for key in keys]
            for i, scalar in enumerate(scalars):
                for column in self._columns():
                    T.buffer_store(acc, acc[i, column] + scalar * queries[d, column], [i, column])
        kept = Kept(self.problem.kept[0], self.blocking.rows)
        for i, key in enumerate(keys):
            for column in self._columns():
                at = [*block.at, self._query(block.first + column), key]
                score = self._elementwise(0, kept, column, at, acc[i, column])
                T.buffer_store(acc, score, [i, column])
                T.buffer_store(scores, acc[i, column], [first + i, column])
                T.buffer_store(largest, tirx.max(largest[column], acc[i, column]), [column])

    def _elementwise(self, which: int, kept: Kept, column: Expr, at: list[Expr], value: Expr) -> Expr:
        """An element of the scores (0) or weights (1), from that of the product or the probabilities."""
        problem = self.problem
        tensor, source = ((problem.scores, problem.product), (problem.weights, problem.probabilities))[which]
        leaves = {**self._leaves(), source: lambda _: value}
        return Inliner(leaves, kept.keep(column) if problem.kept[which] else None).at(tensor, at)

    def _query(self, s: Expr) -> Expr:
        return tirx.min(s, self.frames.const(self.problem.queries) - 1) if self.ragged else s

    # softmax

    def _softmax(self, block: _Block, scores: tirx.Buffer, largest: tirx.Buffer, scale: tirx.Buffer) -> None:
        """Exponentials in place of the scores, and the reciprocals of their sums.

        A row that is masked as a whole has a sum of 0, and one with a NaN or inf among its scores a sum of NaN. All of
        their probabilities are NaN, or 0 where they are guarded.
        """
        self._fill(scale, tirx.const(0.0, "float32"))
        with self.frames.loop(self.problem.keys) as key:
            for column in self._columns():
                T.buffer_store(scores, functions.exp(scores[key, column] - largest[column]), [key, column])
                T.buffer_store(scale, scale[column] + scores[key, column], [column])
        one, zero = (tirx.const(value, "float32") for value in (1.0, 0.0))
        for column in self._columns():
            inverse = one / scale[column]
            guarded = tirx.Select(scale[column] > zero, inverse, zero) if self.problem.guarded else inverse
            T.buffer_store(scale, guarded, [column])
        if self.problem.guarded:
            self._clear_rows(scores, scale)
        if not isinstance(self.problem.keys, int):  # the sum of no products is 0, whatever they are divided by
            with self.frames.when(tirx.EQ(self.problem.keys, self.frames.const(0))):
                self._fill(scale, one)
        if self.problem.weights is self.problem.probabilities:
            return
        kept = Kept(self.problem.kept[1], self.blocking.rows)
        with self.frames.loop(self.problem.keys) as key:
            for column in self._columns():
                at = [*block.at, self._query(block.first + column), key]
                T.buffer_store(scores, scores[key, column] * scale[column], [key, column])
                weight = self._elementwise(1, kept, column, at, scores[key, column])
                T.buffer_store(scores, weight, [key, column])
        self._fill(scale, tirx.const(1.0, "float32"))

    def _clear_rows(self, scores: tirx.Buffer, scale: tirx.Buffer) -> None:
        """Zeros in the rows that are not divided by their sum, but multiplied by 0: rare, so not in the loops."""
        zero = tirx.const(0.0, "float32")
        with self.frames.loop(self.blocking.rows) as row:
            rare = self.frames.when(scale[row] <= zero)
            with rare, self.frames.loop(self.problem.keys) as key:
                T.buffer_store(scores, zero, [key, row])

    # the second product

    def _weigh(
        self,
        block: _Block,
        first: Expr,
        vectors: Sequence[tuple[int, int]],
        scores: tirx.Buffer,
        scale: tirx.Buffer,
    ) -> None:
        """A tile of the context, divided by the sums of the exponentials, to its place in the output."""
        rows, wide = self.blocking.queries, vectors[0][1]
        acc = T.alloc_buffer((rows, len(vectors) * wide), "float32", scope="local")

        def tile() -> Iterator[tuple[int, Expr, Expr]]:
            """Row of the tile, column in it, and column of the values: vector by vector."""
            for i in range(rows):
                for position, (start, lanes) in enumerate(vectors):
                    with self.frames.lanes(lanes) as lane:
                        yield i, position * wide + lane, start + lane

        for i, column, _ in tile():
            T.buffer_store(acc, tirx.const(0.0, "float32"), [i, column])
        with self.frames.loop(self.problem.keys) as key:
            scalars = [T.Bind(scores[key, first + i]) for i in range(rows)]
            for i, column, e in tile():
                value = self._element(self.problem.v, block, [key, e])
                T.buffer_store(acc, acc[i, column] + scalars[i] * value, [i, column])
        for i in range(rows):
            s = block.first + first + i
            with self.frames.when(s < self.frames.const(self.problem.queries) if self.ragged else None):
                factor = T.Bind(scale[first + i])
                for position, (start, lanes) in enumerate(vectors):
                    with self.frames.lanes(lanes) as lane:
                        result = acc[i, position * wide + lane] * factor
                        T.buffer_store(self.output, result, [self.problem.place(block.at, s, start + lane)])

    # elements, loops

    def _element(self, tensor: te.Tensor, block: _Block, at: Sequence[Expr]) -> Expr:
        leading = batch_at(tensor.shape[:-2], self.problem.batch, block.at)
        return Inliner(self._leaves()).at(tensor, [*leading, *at])

    def _leaves(self) -> dict[te.Tensor, Leaf]:
        def load(buffer: tirx.Buffer) -> Leaf:
            return lambda indices: buffer[tuple(indices)]

        return {tensor: load(buffer) for tensor, buffer in self.buffers.items()}

    def _fill(self, buffer: tirx.Buffer, value: Expr, *leading: int) -> None:
        for column in self._columns():
            T.buffer_store(buffer, value, [*leading, column])

    def _columns(self) -> Iterator[Expr]:
        """The queries of a block, vector by vector."""
        for vector in range(self.blocking.vectors):
            with self.frames.lanes(self.blocking.lanes) as lane:
                yield vector * self.blocking.lanes + lane
