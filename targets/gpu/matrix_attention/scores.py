"""Scores of the products in a warp's registers: scaled, with what is added to them; those of keys beyond the last one
are -inf."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from tvm import te, tirx
from tvm.ir import Expr
from tvm.tirx.script.builder import ir as T

from dsc.lower.exprs import Dim, dims, divides
from dsc.lower.floats import condition
from dsc.targets.cpu.attention.problem import Problem
from dsc.targets.gpu.access import ranges, traced
from dsc.targets.gpu.axes import Axis
from dsc.targets.gpu.elements import Elements
from dsc.targets.gpu.matrix_attention.blocking import Shape
from dsc.targets.gpu.matrix_attention.results import Warp
from dsc.targets.gpu.matrix_attention.softmax import Sums
from dsc.targets.gpu.neighbours import Neighbours, Read, distinct, from_registers
from dsc.targets.gpu.tile import unrolled
from dsc.targets.tir.loops import Loops


class Scores:
    """Makes them of products. What belongs to neighbouring keys of a lane is loaded at once where it lies side by
    side."""

    def __init__(self, problem: Problem, shape: Shape, buffers: Mapping[te.Tensor, tirx.Buffer], loops: Loops) -> None:
        """`buffers`: of the inputs."""
        self.problem, self.shape, self.buffers, self.loops = problem, shape, buffers, loops
        self.beside = _side_by_side(problem, shape.chain.neighbours)
        self.run = shape.chain.neighbours if self.beside else 1
        """Registers whose keys are neighbours and looked at together."""

    def write(self, products: Sums, warp: Warp, step: Expr) -> None:
        """In place, those of a step."""
        problem, shape, chain = self.problem, self.shape, self.shape.chain
        keys = shape.blocking.keys
        with unrolled(products.down) as i, unrolled(products.across) as j:
            for register in range(0, chain.fragments.sums, self.run):
                line, place = chain.place(warp.lane, register)
                query = self._within(T.Bind(warp.query + i * chain.lines + line), problem.queries, shape.queries, 1)
                key = T.Bind(step * keys + chain.ordered(j * chain.across + place))
                at = [*warp.batch, query, self._within(key, problem.keys, keys, self.run)]
                self._neighbours(products.registers, products.first(i, j) + register, at, key)

    def _neighbours(self, registers: tirx.Buffer, first: Expr, at: Sequence[Expr], key: Expr) -> None:
        """Those of neighbouring keys, from register `first` on; `at` is where the first of them is, or would be if all
        were there."""
        problem, loops = self.problem, self.loops
        beside = [Neighbours.load(read, self.run, self.buffers[read.tensor], at, loops) for read in self.beside]
        for v in range(self.run):
            score = self._score([*at[:-1], at[-1] + v], registers[first + v], beside, v)
            if not divides(self.shape.blocking.keys, problem.keys):
                inside = condition(key + v < loops.const(problem.keys))
                score = tirx.Select(inside, score, tirx.const(-math.inf, "float32"))
            T.buffer_store(registers, score, [first + v])

    def _score(self, at: Sequence[Expr], multiplied: Expr, beside: Sequence[Neighbours], v: int) -> Expr:
        """An element of the scores, from that of the product and from what is in registers."""
        known = ranges(at, dims(self.problem.scores.shape))
        memory = from_registers(beside, self.buffers, at, v, known)
        return Elements({**memory, self.problem.product: lambda _: multiplied}, known).at(self.problem.scores, at)

    def _within(self, index: Expr, size: Dim, tile: int, count: int) -> Expr:
        """`index`, the first of `count`, or that of the last ones where tiles go beyond them."""
        if divides(tile, size):
            return index
        return T.Bind(tirx.max(tirx.min(index, self.loops.const(size) - count), self.loops.const(0)))


def _side_by_side(problem: Problem, count: int) -> list[Read]:
    """What scores read of the inputs that lies side by side for neighbouring keys, so many at once."""
    found = traced(problem.scores, [*problem.params, problem.product])
    axes = [Axis(variable, size) for variable, size in zip(found.variables, dims(problem.scores.shape), strict=True)]
    reads = [Read.of(tensor, at, axes) for tensor, at in found.reads if tensor is not problem.product]
    keys = [len(axes) - 1]
    return [
        read for read in distinct(reads) if read.access is not None and read.access.vector(keys, count) == count > 1
    ]
