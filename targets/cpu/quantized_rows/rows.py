"""Rows of activations as bytes: quantized in groups, each by a step of its own, as a task copies them.

The step of a group is its largest magnitude over the largest integer there is, so that nothing is cut off. A group with
an infinity or a NaN has NaN for a step: its bytes are of no meaning, and all results of its row NaN.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from tvm import tirx
from tvm.ir import Expr
from tvm.tirx.script.builder import ir as T

from dsc.lower.floats import f32
from dsc.targets.cpu.gemm.frame import Frame, Place, Task
from dsc.targets.cpu.gemm.operands import Element, Operands, Row, Rows
from dsc.targets.cpu.quantized_rows.problem import ByteProduct
from dsc.targets.machine import MultiplyAdd
from dsc.targets.tir.loops import Loops, spread

SMALLEST = 2.0**-100
"""Groups whose numbers are all smaller have the step of one that has this: its inverse is a number."""
ROUNDING = 1.5 * 2.0**23
"""Added to a small number, gives a float32 whose last bits are the nearest integer, halves to even."""
MAGNITUDE = 0x7FFFFFFF
"""The bits of a float32 but its sign; as integers they are in order, infinity and then NaN above all numbers."""


@dataclass(frozen=True)
class RowOfBytes:
    """One of the bytes of each activation of a row: a `Row`."""

    bytes: tirx.Buffer
    """[row, byte, depth]"""
    steps: tirx.Buffer
    """[row, group]"""
    row: Expr
    part: int
    neighbours: int

    def __call__(self, step: Expr, count: int) -> Expr:
        """The bytes of so many steps of the depth."""
        places = Loops().span(step * self.neighbours, count * self.neighbours)
        return self.bytes[self.row, self.part, places]

    def step_of(self, group: Expr) -> Expr:
        """What one more in a group stands for."""
        return self.steps[self.row, group]


class QuantizedOperands(Operands):
    """Writes the copies of a task."""

    def __init__(self, problem: ByteProduct, frame: Frame, instruction: MultiplyAdd) -> None:
        """instruction: that which multiplies the bytes."""
        super().__init__(frame)
        self.problem, self.neighbours = problem, instruction.k

    def rows(self, task: Task) -> Rows:
        """Quantizes the rows of a task; of each row of a tile it gives the row of its highest bytes, then the next."""
        loops, tiling, problem = self.loops, self.tiling, self.problem
        count = tiling.rows * (tiling.block if tiling.by_rows else self.frame.row_tiles)
        width = -(-problem.weight.depth // self.neighbours) * self.neighbours
        bytes_ = T.alloc_buffer((count, problem.bytes, width), problem.dtype)
        steps = T.alloc_buffer((count, problem.groups), "float32")
        last = loops.const(self.source.m) - 1
        with loops.each(task.count * tiling.rows) as i:
            row = self._element_of_a(task, T.Bind(tirx.min(task.first * tiling.rows + i, last)))
            self._quantize(row, bytes_, steps, i)

        def rows(place: Place, wanted: Sequence[Expr], ragged: bool) -> list[Row]:
            first = T.Bind(place.tile * tiling.rows)
            parts = [(first + row, part) for row in range(len(wanted)) for part in range(problem.bytes)]
            return [RowOfBytes(bytes_, steps, row, part, self.neighbours) for row, part in parts]

        return rows

    def _quantize(self, row: Element, bytes_: tirx.Buffer, steps: tirx.Buffer, i: Expr) -> None:
        """Writes the bytes and the steps of a row; bytes beyond its end, which are multiplied by 0, are 0."""
        problem = self.problem
        whole, left = divmod(problem.weight.depth, problem.size)
        with self.loops.each(whole) as group:
            self._group(row, bytes_, steps, i, group, problem.size)
        if left:
            self._group(row, bytes_, steps, i, self.loops.const(whole), left)
        with self.loops.each(-problem.weight.depth % self.neighbours) as rest:
            for part in range(problem.bytes):
                at = [i, self.loops.const(part), problem.weight.depth + rest]
                T.buffer_store(bytes_, tirx.const(0, problem.dtype), at)

    def _group(
        self, row: Element, bytes_: tirx.Buffer, steps: tirx.Buffer, i: Expr, group: Expr, size: int
    ) -> None:  # fmt: skip
        """Of so many elements of a row, which share a step."""
        first, count = group * self.problem.size, self.problem.bytes
        bits = T.Bind(self._largest(row, first, size))
        T.buffer_store(steps, self._step(bits), [i, group])
        inverse = T.Bind(f32(self.problem.largest) / tirx.reinterpret("float32", bits))

        def store(k: Expr, _: Expr) -> None:
            rounded = tirx.reinterpret("int32", row(k) * inverse + f32(ROUNDING))
            for part in range(count):
                T.buffer_store(bytes_, self._byte(rounded, count - 1 - part), [i, self.loops.const(part), k])

        self._each(first, size, store)

    def _step(self, bits: Expr) -> Expr:
        """The step of a group, of the bits of its largest magnitude."""
        step = tirx.reinterpret("float32", bits) * f32(1 / self.problem.largest)
        return tirx.Select(bits < tirx.const(_bits(np.inf), "int32"), step, f32(float("nan")))

    def _largest(self, row: Element, first: Expr, size: int) -> Expr:
        """The bits of the largest magnitude of a group."""
        lanes = self.tiling.lanes
        found = T.alloc_buffer((lanes,), "int32", scope="local")

        def enter(k: Expr, lane: Expr) -> None:
            bits = tirx.bitwise_and(tirx.reinterpret("int32", row(k)), tirx.const(MAGNITUDE, "int32"))
            T.buffer_store(found, tirx.max(found[lane], bits), [lane])

        T.buffer_store(found, spread(tirx.const(_bits(SMALLEST), "int32"), lanes), [self.loops.span(0, lanes)])
        self._each(first, size, enter)
        while lanes > 1:
            lanes //= 2
            here, there = (found[self.loops.span(start, lanes)] for start in (0, lanes))
            T.buffer_store(found, tirx.max(here, there), [self.loops.span(0, lanes)])
        return found[self.loops.const(0)]

    def _each(self, first: Expr, size: int, body: Callable[[Expr, Expr], None]) -> None:
        """Writes `body` of each element of a group and its lane: of vectors, and of what is left one by one."""
        loops, lanes = self.loops, self.tiling.lanes
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
