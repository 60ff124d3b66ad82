"""A row of activations becomes bytes: in groups, each by a step of its own.

The step of a group is its largest magnitude over the largest integer there is, so that nothing is cut off. A group with
an infinity or a NaN has NaN for a step: its bytes are of no meaning, and all results of its row NaN.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from tvm import tirx
from tvm.ir import Expr
from tvm.tirx.script.builder import ir as T

from dsc.lower.exprs import Dim
from dsc.lower.floats import f32
from dsc.targets.cpu.gemm.operands import Element
from dsc.targets.cpu.quantized_rows.problem import ByteProduct
from dsc.targets.tir.loops import Loops, spread

SMALLEST = 2.0**-100
"""Groups whose numbers are all smaller have the step of one that has this: its inverse is a number."""
ROUNDING = 1.5 * 2.0**23
"""Added to a small number, gives a float32 whose last bits are the nearest integer, halves to even."""
MAGNITUDE = 0x7FFFFFFF
"""The bits of a float32 but its sign; as integers they are in order, infinity and then NaN above all numbers."""


@dataclass(frozen=True)
class Copies:
    """What rows become, in memory of a task."""

    bytes: tirx.Buffer
    """[row, byte, depth], the highest byte first; the depth in whole steps of an instruction."""
    steps: tirx.Buffer
    """[row, group]: what one more stands for."""
    sums: tirx.Buffer | None
    """[row, group]: of a group, in steps; where the weight has zero points, which they are multiplied by."""

    @staticmethod
    def of(problem: ByteProduct, count: Dim, neighbours: int) -> Copies:
        """Memory for so many rows."""
        width = -(-problem.weight.depth // neighbours) * neighbours
        bytes_ = T.alloc_buffer((count, problem.bytes, width), problem.dtype)
        steps = T.alloc_buffer((count, problem.groups), "float32")
        centered = problem.weight.zeros is None
        return Copies(bytes_, steps, None if centered else T.alloc_buffer((count, problem.groups), "float32"))


@dataclass(frozen=True)
class Quantizer:
    """Writes the statements."""

    problem: ByteProduct
    copies: Copies
    loops: Loops
    lanes: int
    """Elements that are quantized together."""

    def row(self, element: Element, i: Expr) -> None:
        """Writes all of a row; bytes beyond its end, which are multiplied by 0, are 0."""
        problem = self.problem
        whole, left = divmod(problem.weight.depth, problem.size)
        with self.loops.each(whole) as group:
            self._group(element, i, group, problem.size)
        if left:
            self._group(element, i, self.loops.const(whole), left)
        with self.loops.each(int(self.copies.bytes.shape[2]) - problem.weight.depth) as rest:
            for part in range(problem.bytes):
                at = [i, self.loops.const(part), problem.weight.depth + rest]
                T.buffer_store(self.copies.bytes, tirx.const(0, problem.dtype), at)

    def _group(self, element: Element, i: Expr, group: Expr, size: int) -> None:
        """Of so many elements of a row, which share a step."""
        first = group * self.problem.size
        bits = T.Bind(self._largest(element, first, size))
        T.buffer_store(self.copies.steps, self._step(bits), [i, group])
        inverse = T.Bind(f32(self.problem.largest) / tirx.reinterpret("float32", bits))
        total = None if self.copies.sums is None else self._in_lanes(0)

        def store(k: Expr, lane: Expr) -> None:
            rounded = tirx.reinterpret("int32", element(k) * inverse + f32(ROUNDING))
            for part in range(self.problem.bytes):
                value = self._byte(rounded, self.problem.bytes - 1 - part)
                T.buffer_store(self.copies.bytes, value, [i, self.loops.const(part), k])
            if total is not None:
                T.buffer_store(total, total[lane] + (rounded - tirx.const(_bits(ROUNDING), "int32")), [lane])

        self._each(first, size, store)
        if total is not None:
            T.buffer_store(self.copies.sums, self._across(total, operator.add).astype("float32"), [i, group])

    def _step(self, bits: Expr) -> Expr:
        """The step of a group, of the bits of its largest magnitude."""
        step = tirx.reinterpret("float32", bits) * f32(1 / self.problem.largest)
        return tirx.Select(bits < tirx.const(_bits(np.inf), "int32"), step, f32(float("nan")))

    def _largest(self, element: Element, first: Expr, size: int) -> Expr:
        """The bits of the largest magnitude of a group."""
        found = self._in_lanes(_bits(SMALLEST))

        def enter(k: Expr, lane: Expr) -> None:
            bits = tirx.bitwise_and(tirx.reinterpret("int32", element(k)), tirx.const(MAGNITUDE, "int32"))
            T.buffer_store(found, tirx.max(found[lane], bits), [lane])

        self._each(first, size, enter)
        return self._across(found, tirx.max)

    def _in_lanes(self, value: int) -> tirx.Buffer:
        """An integer for each lane."""
        found = T.alloc_buffer((self.lanes,), "int32", scope="local")
        T.buffer_store(found, spread(tirx.const(value, "int32"), self.lanes), [self.loops.span(0, self.lanes)])
        return found

    def _across(self, found: tirx.Buffer, combine: Callable[[Expr, Expr], Expr]) -> Expr:
        """All lanes in one: halves with one another."""
        lanes = self.lanes
        while lanes > 1:
            lanes //= 2
            here, there = (found[self.loops.span(start, lanes)] for start in (0, lanes))
            T.buffer_store(found, combine(here, there), [self.loops.span(0, lanes)])
        return found[self.loops.const(0)]

    def _each(self, first: Expr, size: int, body: Callable[[Expr, Expr], None]) -> None:
        """Writes `body` of each element of a group and its lane: of vectors, and of what is left one by one."""
        loops, lanes = self.loops, self.lanes
        whole = size // lanes
        with loops.each(whole) as part, loops.each(lanes, T.vectorized) as lane:
            body(first + part * lanes + lane, lane)
        with loops.each(size - whole * lanes) as rest:
            body(first + whole * lanes + rest, loops.const(0))

    def _byte(self, rounded: Expr, above: int) -> Expr:
        """The signed byte with so many below it, as the instruction takes it: those below are in -128..127, too."""
        if above:
            half = sum(128 << (8 * i) for i in range(above))
            rounded = tirx.shift_right(rounded + half, tirx.const(8 * above, "int32"))
        return (rounded + self.problem.shift).astype(self.problem.dtype)


def _bits(number: float) -> int:
    return int(np.float32(number).view(np.int32))
