"""The code of attention: a task is a block of queries of one head, whose scores never leave the cache.

The block's queries are transposed to ``[depth][rows]``, so that its scores are computed as ``[keys][rows]``:
a key is read where it lies, one scalar at a time, the softmax runs down the columns without any horizontal
operation, and the second product reads the values where they lie, in vectors along their width. Nothing else
is copied. Ragged blocks compute the last query or key again: what is double is neither summed nor stored.
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
from dsc.targets.cpu.attention.elements import Elements
from dsc.targets.cpu.attention.factors import instruction_of
from dsc.targets.cpu.attention.keys import AllKeys, Blocks, Keys, Runs
from dsc.targets.cpu.attention.masking import Masking
from dsc.targets.cpu.attention.problem import Chosen, Problem
from dsc.targets.cpu.attention.skipping import Skipping
from dsc.targets.cpu.inline import Inliner, Kept, Leaf
from dsc.targets.cpu.machine import Cpu
from dsc.targets.cpu.tile import RegisterTile
from dsc.targets.machine import MultiplyAdd
from dsc.targets.tir.loops import Kind, Loops, argument, flat, pieces, spread, when


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
    skipped: int = 0
    """Keys in a block that is skipped where the mask leaves it no weight; 0 if all keys are computed. A multiple of
    `keys`."""

    @property
    def rows(self) -> int:
        """Queries in a block."""
        return self.lanes * self.vectors


@dataclass(frozen=True)
class Block:
    """Where a task is."""

    at: list[Expr]
    """Coordinates of the batch."""
    first: Expr
    """Its first query."""


class Writer:
    """Writes the function, in float32; vectors along the values are as wide as the machine's."""

    element, together = "float32", 1
    """Of the buffers of factors, and how many products an element is of."""

    present: Keys
    """Those of the task that is written."""

    def __init__(self, problem: Problem, blocking: Blocking, machine: Cpu, masking: Masking | None = None) -> None:
        """masking: what is known of the mask, where the blocking skips."""
        self.problem, self.blocking, self.machine, self.masking = problem, blocking, machine, masking
        self.loops = Loops.over(problem.params)
        self.blocks = ceildiv(problem.queries, blocking.rows)
        self.ragged = not (isinstance(problem.queries, int) and problem.queries % blocking.rows == 0)
        self.columns = [start for start, _ in pieces(blocking.rows, blocking.lanes)]
        """The first query of each vector of a block."""

    def write(self) -> None:
        """Declares the parameters and writes the tasks."""
        self.buffers = {
            tensor: argument(f"in{i}", tensor.shape, tensor.dtype) for i, tensor in enumerate(self.problem.params)
        }
        for scalar in self.problem.scalars:
            T.arg(scalar.name, scalar)
        self.output = flat(argument("out0", self.problem.output.shape, self.problem.output.dtype))
        self.elements = Elements(self.problem, self.buffers)
        self.loops.assume(self.problem.assumed)
        kind = T.parallel if self.blocking.parallel else T.serial
        skipping = self._skipping(self.masking, kind) if self.masking is not None else None
        heads = product(self.problem.batch)
        with self.loops.each(heads * self.blocks, kind) as task:
            head, block = self.loops.split(task, self.blocks)
            batch = self.loops.unravel(head, self.problem.batch)
            first = block * self.blocking.rows
            if self.problem.chosen is not None:
                self.present = self._chosen(self.problem.chosen, batch, block)
            elif skipping is not None:
                self.present = skipping.present(head, batch, block, lambda row: self.query(first + row))
            elif self.problem.window is not None:
                self.present = self._near(self.blocking.keys * self.together).span(block)
            else:
                self.present = AllKeys(self.loops, self.problem.keys)
            self.task(Block(batch, first))

    def _skipping(self, masking: Masking, kind: Kind) -> Skipping:
        """What is to be known before the tasks."""
        near = self._near(self.blocking.skipped)
        skipping = Skipping(masking, self.elements, self.loops, near, self.blocks, self.machine.lanes())
        skipping.write(kind)
        return skipping

    def _chosen(self, chosen: Chosen, batch: Sequence[Expr], block: Expr) -> Runs:
        """The keys that were chosen for a block of queries, which lies within one of those that choose."""
        runs = Runs(self._near(chosen.size))
        query = T.Bind(block * self.blocking.rows // chosen.size)
        runs.find(block, lambda key: self.elements.chooses(chosen, batch, query, key))
        return runs

    def _near(self, size: int) -> Blocks:
        """The keys in blocks of that size."""
        return Blocks(self.loops, self.problem.keys, size, self.blocking.rows, self.problem.window)

    def task(self, block: Block) -> None:
        """The context of a block of queries."""
        problem, rows = self.problem, self.blocking.rows
        queries = T.alloc_buffer((ceildiv(problem.depth, self.together), rows), self.element)
        padded = ceildiv(problem.keys, self.blocking.keys) * self.blocking.keys
        scores = T.alloc_buffer((padded, rows), "float32")
        largest = T.alloc_buffer((rows,), "float32", scope="local")
        scale = T.alloc_buffer((rows,), "float32", scope="local")
        self.transpose(block, queries)
        self._fill(largest, tirx.min_value("float32"))
        with self.present.tiles(self.blocking.keys) as first:
            self._score(block, first, queries, scores, largest)
        weights, values = self._softmax(block, scores, largest, scale), self.values(block)
        with self.loops.each(rows // self.blocking.queries) as tile:
            for start, width in pieces(problem.width, self.blocking.widths * self.machine.lanes()):
                self._weigh(block, tile * self.blocking.queries, start, width, weights, scale, values)

    # queries and scores

    def transpose(self, block: Block, queries: tirx.Buffer) -> None:
        with self.loops.each(self.blocking.rows) as row:
            s = T.Bind(self.query(block.first + row))
            with self.loops.each(self.problem.depth) as d:
                T.buffer_store(queries, self.of(self.problem.q, block, [s, d]), [d, row])

    def _score(
        self, block: Block, first: Expr, queries: tirx.Buffer, scores: tirx.Buffer, largest: tirx.Buffer
    ) -> None:
        """A tile of scores, with scale and mask, and the largest so far of each query."""
        count, lanes = self.blocking.keys, self.blocking.lanes
        tile = RegisterTile(self._instruction(lanes), count, self.blocking.rows, lanes)
        exact = isinstance(self.problem.keys, int) and self.problem.keys % count == 0
        last = self.loops.const(self.problem.keys) - 1
        keys = [T.Bind(first + i if exact else tirx.min(first + i, last)) for i in range(count)]
        given = self.begin(tile, block, keys)
        with self.loops.each(ceildiv(self.problem.depth, self.together)) as step:
            scalars = [T.Bind(given(i, key, step)) for i, key in enumerate(keys)]
            tile.step(scalars, [queries[step, self.loops.span(*vector)] for vector in tile.vectors])
        found = tile.sums
        if found.dtype != "float32":
            found = T.alloc_buffer((count, self.blocking.rows), "float32", scope="local")
        kept = Kept(self.problem.kept[0], lanes)
        for i, key in enumerate(keys):
            for start in self.columns:
                with self.lanes() as lane:
                    column = start + lane
                    at = [*block.at, self.query(block.first + column), key]
                    score = self._elementwise(0, kept, lane, at, self.product(tile.sums[i, column]))
                    T.buffer_store(found, score, [i, column])
                    T.buffer_store(scores, found[i, column], [first + i, column])
                    T.buffer_store(largest, tirx.max(largest[column], found[i, column]), [column])

    def begin(self, tile: RegisterTile, block: Block, keys: Sequence[Expr]) -> Callable[[int, Expr, Expr], Expr]:
        """Sets the sums of a tile of scores to what they begin with, and gives the elements of its keys."""
        tile.clear()
        return self.keys(block, keys)

    def keys(self, block: Block, keys: Sequence[Expr]) -> Callable[[int, Expr, Expr], Expr]:
        """What gives an element of the keys of a tile: of its number, of itself, and the step of the depth.

        Keys in memory as floats are read there, others become floats by vectors first.
        """
        problem = self.problem
        if not self._converts(problem.k):
            return lambda _, key, d: self.of(problem.k, block, [d, key])
        floats = T.alloc_buffer((len(keys), problem.depth), "float32")
        for i, key in enumerate(keys):
            for start, width in pieces(problem.depth, self.machine.lanes()):
                with self.loops.each(width, T.vectorized) as lane:
                    T.buffer_store(floats, self.of(problem.k, block, [start + lane, key]), [i, start + lane])
        return lambda i, _, d: floats[i, d]

    def product(self, found: Expr) -> Expr:
        """An element of the first product, from a sum of the tile."""
        return found

    def score(self, value: Expr) -> Expr:
        """A step from a sum to a score as it is computed: as the model has it."""
        return value

    def _elementwise(self, which: int, kept: Kept, lane: Expr, at: list[Expr], value: Expr) -> Expr:
        """An element of the scores (0) or weights (1), from that of the product or the probabilities."""
        problem = self.problem
        tensor, source = ((problem.scores, problem.product), (problem.weights, problem.probabilities))[which]
        leaves = {**self.elements.leaves(), source: lambda _: value}
        computed, keep = (self.score, lambda weight: weight)[which], kept.keep(lane)
        inliner = Inliner(leaves, (lambda step: keep(computed(step))) if problem.kept[which] else None)
        return computed(inliner.at(tensor, at))

    def query(self, s: Expr) -> Expr:
        return tirx.min(s, self.loops.const(self.problem.queries) - 1) if self.ragged else s

    # softmax

    def _softmax(self, block: Block, scores: tirx.Buffer, largest: tirx.Buffer, scale: tirx.Buffer) -> tirx.Buffer:
        """The factors of the second product: exponentials of the scores, or what is made of the probabilities. And the
        reciprocals of the sums of exponentials, or 1, in `scale`.

        A row that is masked as a whole has a sum of 0, and one with a NaN or inf among its scores a sum of NaN. All of
        their probabilities are NaN, or 0 where they are guarded.
        """
        self._fill(scale, tirx.const(0.0, "float32"))
        final = self.problem.weights is self.problem.probabilities
        weights = self.factors(scores, largest, scale) if final else self.exponentials(scores, largest, scale)
        one, zero = (tirx.const(value, "float32") for value in (1.0, 0.0))
        for start in self.columns:
            with self.lanes() as lane:
                column = start + lane
                inverse = one / scale[column]
                guarded = tirx.Select(scale[column] > zero, inverse, zero) if self.problem.guarded else inverse
                T.buffer_store(scale, guarded, [column])
        if self.problem.guarded:
            self._clear_rows(weights, scale)
        if not isinstance(self.problem.keys, int):  # the sum of no products is 0, whatever they are divided by
            with when(tirx.EQ(self.problem.keys, self.loops.const(0))):
                self._fill(scale, one)
        if final:
            return weights
        found = self.weights(block, scores, scale)
        self._fill(scale, one)
        return found

    def exponentials(self, scores: tirx.Buffer, largest: tirx.Buffer, scale: tirx.Buffer) -> tirx.Buffer:
        """In place of the scores; their sums are added to `scale`."""
        with self.present.each() as key:
            for start in self.columns:
                with self.lanes() as lane:
                    column = start + lane
                    T.buffer_store(scores, functions.exp(scores[key, column] - largest[column]), [key, column])
                    T.buffer_store(scale, scale[column] + scores[key, column], [column])
        return scores

    def factors(self, scores: tirx.Buffer, largest: tirx.Buffer, scale: tirx.Buffer) -> tirx.Buffer:
        """Exponentials that are multiplied as they are."""
        return self.exponentials(scores, largest, scale)

    def weights(self, block: Block, scores: tirx.Buffer, scale: tirx.Buffer) -> tirx.Buffer:
        """The weights as factors of the second product, from exponentials in `scores` and what they are scaled by."""
        kept = Kept(self.problem.kept[1], self.blocking.lanes)
        with self.present.each() as key:
            for start in self.columns:
                with self.lanes() as lane:
                    column = start + lane
                    at = [*block.at, self.query(block.first + column), key]
                    T.buffer_store(scores, scores[key, column] * scale[column], [key, column])
                    weight = self._elementwise(1, kept, lane, at, scores[key, column])
                    T.buffer_store(scores, weight, [key, column])
        return scores

    def _clear_rows(self, weights: tirx.Buffer, scale: tirx.Buffer) -> None:
        """Zeros in the rows that are not divided by their sum, but multiplied by 0: rare, so not in the loops."""
        zero = tirx.const(0, weights.dtype)
        with self.loops.each(self.blocking.rows) as row:
            rare = when(scale[row] <= zero)
            together = self.together if weights.dtype == self.element else 1
            with rare, self.present.each(together) as step:
                T.buffer_store(weights, zero, [step, row])

    # the second product

    def values(self, block: Block) -> Callable[[Expr, Expr], Expr]:
        """What gives an element of the values, of a key and a place in it: all tiles of a block read the same ones, so
        those that are no floats in memory become floats first."""
        problem = self.problem
        if not self._converts(problem.v):
            return lambda key, e: self.of(problem.v, block, [key, e])
        floats = T.alloc_buffer((problem.keys, problem.width), "float32")
        with self.present.each() as key:
            for start, width in pieces(problem.width, self.machine.lanes()):
                with self.loops.each(width, T.vectorized) as lane:
                    T.buffer_store(floats, self.of(problem.v, block, [key, start + lane]), [key, start + lane])
        return lambda key, e: floats[key, e]

    def _weigh(
        self, block: Block, first: Expr, start: int, width: int, weights: tirx.Buffer, scale: tirx.Buffer,
        given: Callable[[Expr, Expr], Expr],
    ) -> None:  # fmt: skip
        """A tile of the context, divided by the sums of the exponentials, to its place in the output."""
        rows, lanes = self.blocking.queries, self.machine.lanes()
        instruction = self._instruction(lanes)
        columns = width if instruction.intrinsic is None else ceildiv(width, lanes) * lanes
        tile = RegisterTile(instruction, rows, columns, lanes)
        values = T.alloc_buffer((columns,), self.element, scope="local")
        tile.clear()
        with self.present.each(self.together) as step:
            scalars = [T.Bind(weights[step, first + i]) for i in range(rows)]
            for column, count in tile.vectors:
                with self.loops.each(count, T.vectorized) as lane:
                    T.buffer_store(values, given(step, start + column + lane), [column + lane])
            tile.step(scalars, [values[self.loops.span(*vector)] for vector in tile.vectors])
        for i in range(rows):
            s = block.first + first + i
            with when(s < self.loops.const(self.problem.queries) if self.ragged else None):
                weighed = self.weighed(first + i, scale)
                for column, count in pieces(width, lanes):
                    with self.loops.each(count, T.vectorized) as lane:
                        place = self.problem.place(block.at, s, start + column + lane)
                        value = weighed(tile.sums[i, column + lane], start + column + lane)
                        T.buffer_store(self.output, self.stored(value), [place])

    def weighed(self, row: Expr, scale: tirx.Buffer) -> Callable[[Expr, Expr], Expr]:
        """What makes an element of the context, of a row of the block, from a sum and its place in the row."""
        factor = T.Bind(scale[row])
        return lambda found, _: found * factor

    def stored(self, value: Expr) -> Expr:
        """An element of the context as the output has it."""
        return self.problem.stored(value, self.elements.leaves())

    # elements, loops

    @property
    def _steps(self) -> Dim:
        """Of the second product."""
        return ceildiv(self.problem.keys, self.together)

    def _instruction(self, lanes: int) -> MultiplyAdd:
        return instruction_of(self.problem, self.machine, lanes)

    def of(self, tensor: te.Tensor, block: Block, at: Sequence[Expr]) -> Expr:
        return self.elements.of(tensor, block.at, at)

    def _converts(self, tensor: te.Tensor) -> bool:
        """Whether its elements are not floats in memory."""
        types: set[str] = set()

        def read(parameter: te.Tensor) -> Leaf:
            def leaf(_: Sequence[Expr]) -> Expr:
                types.add(str(parameter.dtype))
                return tirx.const(0, str(parameter.dtype))

            return leaf

        at = [tirx.const(0, "int64") for _ in tensor.shape]
        Inliner({parameter: read(parameter) for parameter in self.problem.params}).at(tensor, at)
        return types != {"float32"}

    def _fill(self, buffer: tirx.Buffer, value: Expr) -> None:
        """Sets what there is for each query of a block."""
        for start in self.columns:
            span = self.loops.span(start, self.blocking.lanes)
            T.buffer_store(buffer, spread(value, self.blocking.lanes), [span])

    def lanes(self) -> AbstractContextManager[Expr]:
        """A loop over a vector of queries."""
        return self.loops.each(self.blocking.lanes, T.vectorized)
