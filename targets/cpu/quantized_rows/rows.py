"""Rows of activations as bytes: quantized by a step of their own as a task copies them.

The step of a row is its largest magnitude over the largest integer there is, so that nothing is cut off. A row with an
infinity or a NaN has NaN for a step: its bytes are of no meaning, and all of its results NaN.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from tvm import tirx
from tvm.ir import Expr
from tvm.tirx.script.builder import ir as T

from dsc.lower.floats import f32
from dsc.targets.cpu.gemm.frame import Frame, Place, Task
from dsc.targets.cpu.gemm.operands import Element, Operands, Row, Rows
from dsc.targets.cpu.quantized_rows.problem import ByteProduct
from dsc.targets.machine import MultiplyAdd

SMALLEST = 2.0**-100
"""Rows whose numbers are all smaller have the step of one that has this: its inverse is a number."""
ROUNDING = 1.5 * 2.0**23
"""Added to a small number, gives a float32 whose last bits are the nearest integer, halves to even."""
MAGNITUDE = 0x7FFFFFFF
"""The bits of a float32 but its sign; as integers they are in order, infinity and then NaN above all numbers."""


class QuantizedOperands(Operands):
    """Writes the copies, and keeps where they are."""

    def __init__(self, problem: ByteProduct, frame: Frame, instruction: MultiplyAdd) -> None:
        """instruction: that which multiplies the bytes."""
        super().__init__(frame)
        self.problem, self.neighbours = problem, instruction.k
        self.whole = problem.weight.depth // frame.tiling.lanes
        """Vectors of a row."""
        self.steps: tirx.Buffer | None = None
        """Of the rows of the task that is being written."""

    def rows(self, task: Task) -> Rows:
        """Quantizes the rows of a task; of each row of a tile it gives the row of its highest bytes, then the next."""
        loops, tiling, problem = self.loops, self.tiling, self.problem
        count = tiling.rows * (tiling.block if tiling.by_rows else self.frame.row_tiles)
        width = -(-problem.weight.depth // self.neighbours) * self.neighbours
        bytes_ = T.alloc_buffer((count, problem.bytes, width), problem.dtype)
        steps = self.steps = T.alloc_buffer((count,), "float32")
        last = loops.const(self.source.m) - 1
        with loops.each(task.count * tiling.rows) as i:
            row = self._element_of_a(task, T.Bind(tirx.min(task.first * tiling.rows + i, last)))
            self._quantize(row, self._step(row, steps, i), bytes_, i)

        def rows(place: Place, wanted: Sequence[Expr], ragged: bool) -> list[Row]:
            first, size = T.Bind(place.tile * tiling.rows), self.neighbours

            def reader(row: int, part: int) -> Row:
                return lambda step, count: bytes_[first + row, part, loops.span(step * size, count * size)]

            return [reader(row, part) for row in range(len(wanted)) for part in range(problem.bytes)]

        return rows

    def step_of(self, place: Place, row: int) -> Expr:
        """The step of a row of a tile."""
        assert self.steps is not None  # the rows of its task were asked for
        return self.steps[place.tile * self.tiling.rows + row]

    def _step(self, row: Element, steps: tirx.Buffer, i: Expr) -> Expr:
        """Stores the step of a row, and gives its inverse."""
        bits = T.Bind(self._largest(row))
        largest = tirx.reinterpret("float32", bits)
        levels = f32(self.problem.largest)
        is_number = bits < tirx.const(_bits(np.inf), "int32")
        T.buffer_store(steps, tirx.Select(is_number, largest / levels, f32(float("nan"))), [i])
        return T.Bind(levels / largest)

    def _largest(self, row: Element) -> Expr:
        """The bits of the largest magnitude of a row."""
        lanes = self.tiling.lanes
        found = T.alloc_buffer((lanes,), "int32", scope="local")

        def with_(k: Expr, place: Expr) -> None:
            bits = tirx.bitwise_and(tirx.reinterpret("int32", row(k)), tirx.const(MAGNITUDE, "int32"))
            T.buffer_store(found, tirx.max(found[place], bits), [place])

        T.buffer_store(found, tirx.Broadcast(tirx.const(_bits(SMALLEST), "int32"), lanes), [self.loops.span(0, lanes)])
        self._each(with_)
        largest = found[0]
        for lane in range(1, lanes):
            largest = tirx.max(largest, found[lane])
        return largest

    def _each(self, body: Callable[[Expr, Expr], None]) -> None:
        """Writes `body` of each element of a row and its lane: of vectors, and of what is left one by one."""
        loops, lanes = self.loops, self.tiling.lanes
        with loops.each(self.whole) as part, loops.each(lanes, T.vectorized) as lane:
            body(part * lanes + lane, lane)
        with loops.each(self.problem.weight.depth - self.whole * lanes) as rest:
            body(self.whole * lanes + rest, loops.const(0))

    def _quantize(self, row: Element, inverse: Expr, bytes_: tirx.Buffer, i: Expr) -> None:
        """Stores the bytes of a row; those beyond its end are multiplied by 0."""

        def store(k: Expr, _: Expr) -> None:
            rounded = tirx.reinterpret("int32", row(k) * inverse + f32(ROUNDING))
            for part in range(self.problem.bytes):
                T.buffer_store(bytes_, self._byte(rounded, self.problem.bytes - 1 - part), [i, self.loops.const(part), k])

        self._each(store)
        depth = self.problem.weight.depth
        with self.loops.each(-depth % self.neighbours) as rest:
            for part in range(self.problem.bytes):
                zero = tirx.const(0, self.problem.dtype)
                T.buffer_store(bytes_, zero, [i, self.loops.const(part), depth + rest])

    def _byte(self, rounded: Expr, above: int) -> Expr:
        """The signed byte with so many below it, as the instruction takes it: those below are in -128..127, too."""
        if above:
            half = sum(128 << (8 * i) for i in range(above))
            rounded = tirx.shift_right(rounded + half, tirx.const(8 * above, "int32"))
        return (rounded + self.problem.shift).astype(self.problem.dtype)


def _bits(number: float) -> int:
    return int(np.float32(number).view(np.int32))
