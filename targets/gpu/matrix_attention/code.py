"""The code of attention by instructions on matrices: a block of threads has some queries of one head, each of its warps
a part of them, and goes through the keys once.

A warp keeps its queries as operands in registers. Of each step of keys it computes the scores, makes weights of them,
and gives these as operands to the second product: only keys and values come from shared memory, and warps exchange
nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from tvm import tirx
from tvm.ir import Expr
from tvm.tirx.script.builder import ir as T

from dsc.lower.exprs import ceildiv, product
from dsc.targets.cpu.attention.problem import Problem
from dsc.targets.gpu.contraction.epilogue import leaves
from dsc.targets.gpu.launch import launch, shared_scope
from dsc.targets.gpu.machine import Gpu
from dsc.targets.gpu.matrix.operand import Corner, FragmentPlace, Operand, is_transposed
from dsc.targets.gpu.matrix.pipeline import Pipeline
from dsc.targets.gpu.matrix.transport import WORD, Transport, as_words, transport
from dsc.targets.gpu.matrix_attention.blocking import Shape
from dsc.targets.gpu.matrix_attention.operands import Keys
from dsc.targets.gpu.matrix_attention.results import Results, Warp
from dsc.targets.gpu.matrix_attention.scores import Scores
from dsc.targets.gpu.matrix_attention.sides import Rounded, Sides
from dsc.targets.gpu.matrix_attention.softmax import Softmax, Sums
from dsc.targets.gpu.matrix_attention.transposing import TransposedPairs
from dsc.targets.gpu.matrix_attention.weights import Weights
from dsc.targets.gpu.tile import unrolled
from dsc.targets.tir.loops import Loops, argument, flat, function


def write(problem: Problem, sides: Sides, shape: Shape, machine: Gpu) -> tirx.PrimFunc:
    """The function that computes `problem`."""
    with function() as made:
        _Writer(problem, sides, shape, machine).write()
    return made.get()


class _Writer:
    def __init__(self, problem: Problem, sides: Sides, shape: Shape, machine: Gpu) -> None:
        self.problem, self.sides, self.shape, self.machine = problem, sides, shape, machine
        self.chain, self.fragments = shape.chain, shape.chain.fragments
        self.rounded = Rounded.to(sides.queries.element)
        self.loops = Loops.over(problem.params)

    def write(self) -> None:
        """Declares the parameters and writes the kernel."""
        problem, shape, loops = self.problem, self.shape, self.loops
        self.buffers = {t: argument(f"in{i}", t.shape, t.dtype) for i, t in enumerate(problem.params)}
        for scalar in problem.scalars:
            T.arg(scalar.name, scalar)
        self.output = flat(argument("out0", problem.output.shape, problem.output.dtype))
        loops.assume(problem.assumed)
        blocks = ceildiv(problem.queries, shape.queries)
        threads = shape.blocking.warps * self.machine.warp
        with launch(product(problem.batch) * blocks, threads, loops) as (index, thread):
            head, block = loops.split(index, blocks)
            self._block(loops.unravel(head, problem.batch), T.Bind(block * shape.queries), thread, threads)

    def _block(self, batch: Sequence[Expr], first: Expr, thread: Expr, threads: int) -> None:
        shape, down = self.shape, self.shape.blocking.down
        shared = T.alloc_buffer((shape.shared_bytes // 4,), WORD, scope=shared_scope(shape.shared_bytes, self.machine))
        index, lane = self.loops.split(thread, self.machine.warp)
        warp = Warp(batch, T.Bind(first + index * shape.warp_queries), index, lane)
        queries, keys, values = self._operands(batch, first)
        ways = [self._way(each, shared, thread, threads) for each in (queries, keys, values)]
        softmax = Softmax(self.chain, down, thread, self.machine, self.loops)
        results = Sums(self.chain, down, shape.width // self.chain.across)
        results.clear()
        steps = ceildiv(self.problem.keys, shape.blocking.keys)
        pipeline = Pipeline(self.machine, steps, shape.blocking.stages, [ways[1:]], self.loops)
        ways[0].begin(self.loops.const(0), self.loops.const(0))
        ways[0].finish(self.loops.const(0))
        pipeline.begin()
        pipeline.arrive()
        own, masked = self._queries(queries, shared, warp), Scores(self.problem, shape, self.buffers, self.loops)

        def step(number: Expr, stage: Expr) -> None:
            scores = self._scores(own, keys, shared, warp, stage)
            masked.write(scores, warp, number)
            softmax.absorb(scores, results)
            self._weigh(scores, values, results, shared, warp, stage)

        pipeline.run(step)
        softmax.finish(results, self._divided)
        Results(self.problem, shape, self.output, self.loops).store(results, shared, warp, self.machine.warp)

    def _operands(self, batch: Sequence[Expr], first: Expr) -> tuple[Operand, Operand, Operand]:
        """Queries, keys and values as tiles in shared memory, one after the other."""
        shape, sides, loops, fragments = self.shape, self.sides, self.loops, self.fragments
        head, count, zero = shape.head_chunks * self.chain.chunk, shape.blocking.keys, self.loops.const(0)
        queries = Operand(sides.queries, Corner(batch, first, shape.queries), head, False, loops, 0)
        transposed = is_transposed(sides.keys, fragments)
        keys = Keys(sides.keys, Corner(batch, zero, count), head, transposed, loops, queries.tile.words, self.chain)
        base = queries.tile.words + shape.blocking.stages * keys.tile.words
        corner = Corner(batch, zero, shape.value_lines)
        values = Operand(sides.values, corner, count, shape.transposed, loops, base)
        return queries, keys, values

    def _way(self, operand: Operand, shared: tirx.Buffer, thread: Expr, threads: int) -> Transport:
        """How an operand comes to shared memory."""
        access, inputs = operand.side.factor.access, leaves(self.buffers)
        if access is not None and TransposedPairs.suits(operand, threads):
            memory = next(found for tensor, found in self.buffers.items() if tensor.same_as(access.memory))
            return TransposedPairs(operand, shared, thread, threads, inputs, as_words(memory, operand.side.bits))
        return transport(operand, shared, thread, threads, self.buffers, inputs, self.machine)

    # --- the products

    def _queries(self, queries: Operand, shared: tirx.Buffer, warp: Warp) -> tirx.Buffer:
        """A warp's queries, as operands: those of a line of matrices side by side."""
        fragments, steps = self.fragments, self.shape.depth // self.chain.depth
        down = self.shape.blocking.down
        own = T.alloc_buffer((down * steps * fragments.words,), fragments.word, scope="local")
        first = T.Bind(warp.index * self.shape.warp_queries)
        with unrolled(down) as i, unrolled(steps) as d:
            place = FragmentPlace(self.loops.const(0), first + i * self.chain.lines, d * fragments.chunks)
            queries.load(fragments, warp.lane, own, (i * steps + d) * fragments.words, shared, place)
        return own

    def _scores(self, own: tirx.Buffer, keys: Operand, shared: tirx.Buffer, warp: Warp, stage: Expr) -> Sums:
        """Products of a warp's queries and the keys of a step."""
        fragments, chain, steps = self.fragments, self.chain, self.shape.depth // self.chain.depth
        scores = Sums(chain, self.shape.blocking.down, self.shape.blocking.keys // chain.across)
        other = T.alloc_buffer((fragments.words,), fragments.word, scope="local")
        scores.clear()
        zero = tirx.const(0, "int32")
        with unrolled(steps) as d, unrolled(scores.across) as j:
            place = FragmentPlace(stage, j * chain.across, d * fragments.chunks)
            keys.load(fragments.right, warp.lane, other, zero, shared, place)
            with unrolled(scores.down) as i:
                chain.multiply(
                    scores.registers, scores.first(i, j), own, (i * steps + d) * fragments.words, other, zero
                )
        return scores

    def _weigh(
        self, weights: Sums, values: Operand, results: Sums, shared: tirx.Buffer, warp: Warp, stage: Expr
    ) -> None:
        """Adds the values of a step, times their weights."""
        fragments, chain = self.fragments, self.chain
        rounded = Weights(chain, self.rounded, warp.lane, self.loops)
        own = T.alloc_buffer((results.down * fragments.words,), fragments.word, scope="local")
        other = T.alloc_buffer((fragments.words,), fragments.word, scope="local")
        zero, per_unit = tirx.const(0, "int32"), chain.unit // chain.depth
        with unrolled(self.shape.blocking.keys // chain.unit) as unit:
            for operand in range(per_unit):
                with unrolled(results.down) as i:
                    rounded.operand(weights, i, unit, operand, own, i * fragments.words)
                with unrolled(results.across) as j:
                    chunk = (unit * per_unit + operand) * fragments.chunks
                    place = FragmentPlace(stage, j * chain.across, chunk)
                    values.load(fragments.right, warp.lane, other, zero, shared, place)
                    with unrolled(results.down) as i:
                        first = results.first(i, j)
                        chain.multiply(results.registers, first, own, i * fragments.words, other, zero)

    # --- results

    def _divided(self, result: Expr, total: Expr) -> Expr:
        """A result over the sum of its weights."""
        one, zero = (tirx.const(value, "float32") for value in (1, 0))
        value = result * (one / total)
        if self.problem.guarded:
            value = tirx.Select(total > zero, value, zero)
        if not isinstance(self.problem.keys, int):  # the sum of no products is 0
            value = tirx.Select(tirx.EQ(self.problem.keys, self.loops.const(0)), zero, value)
        return value
