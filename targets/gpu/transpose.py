"""Copies that turn rows into columns, by way of shared memory.

Where the axis that is contiguous in the result is not the one that is contiguous in the input, a thread for each
element of the result would read a piece of memory of its own. So a block reads a square with its threads along the
input's rows, and writes it with its threads along the result's. An axis that is shorter than the square's side, as the
channels of a block in a packed image, makes the square a rectangle.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tvm import tirx
from tvm.ir import Expr
from tvm.tirx.script.builder import ir as T

from dsc.lower.exprs import Dim, ceildiv, product, static
from dsc.lower.nominal import nominal, volume
from dsc.lower.workload import Workload
from dsc.targets.cpu.generic.stages import element_bits
from dsc.targets.cpu.transpose import Axis, Copy, transposing_copy
from dsc.targets.gpu.estimate import Launch, seconds
from dsc.targets.gpu.launch import launch, synchronize
from dsc.targets.gpu.machine import Gpu
from dsc.targets.kernel import Implementation, Refusal
from dsc.targets.tir.loops import Loops, argument, flat, function, when

SIDE = 32
"""Of the square that a block turns, where pieces of memory are no longer."""
STEPS = (1, 2, 4, 8, 16)
"""Elements of a thread."""
SMALLEST = 4
"""An axis that is shorter is not worth the barrier."""


@dataclass(frozen=True)
class Rectangle:
    """The point of a transpose: what a block turns, and its threads."""

    rows: int
    """Neighbours in the result."""
    columns: int
    """Neighbours in the input."""
    threads: int

    @property
    def steps(self) -> int:
        """Elements of a thread."""
        return self.rows * self.columns // self.threads

    @property
    def stride(self) -> int:
        """Of rows in shared memory: threads along a column go to different banks, also where these are short."""
        return self.columns + max(1, SIDE // self.rows)


@dataclass(frozen=True, eq=False)
class TransposeSpace:
    """One transposing copy."""

    func: tirx.PrimFunc
    """Computes it, without a schedule."""
    copy: Copy
    machine: Gpu

    def points(self) -> tuple[Rectangle, ...]:
        """Few threads with more elements each, or more with fewer."""
        longest = max(SIDE, self.machine.sector_bytes * 8 // element_bits(self.func.params[0]))
        rows, columns = (_side(axis, longest) for axis in (self.copy.inner_out, self.copy.inner_in))
        threads = [rows * columns // steps for steps in STEPS]
        return tuple(Rectangle(rows, columns, each) for each in threads if SIDE <= each <= self.machine.max_threads)

    def estimate(self, point: Rectangle) -> float:
        """Seconds: the bytes that are read and written, and what rectangles beyond the edges waste."""
        source = self.func.params[0]
        down, across = (
            math.ceil(nominal(axis.extent) / side)
            for axis, side in ((self.copy.inner_out, point.rows), (self.copy.inner_in, point.columns))
        )
        blocks = math.prod(nominal(axis.extent) for axis in self.copy.outer) * down * across
        cycles = blocks * point.rows * point.columns / self.machine.warp * 4.0
        moved = 2.0 * volume(source.shape) * element_bits(source) // 8
        size = point.rows * point.stride * element_bits(source) // 8
        asked = max(1, point.steps * element_bits(source) // 8)
        launch = Launch(blocks, point.threads, cycles, moved, shared_bytes=size, in_flight_bytes=asked)
        return seconds(self.machine, launch)

    def build(self, point: Rectangle) -> Implementation:
        """The code."""
        with function() as made:
            _Writer(self.func, self.copy, point).write()
        return Implementation(made.get())


def _side(axis: Axis, longest: int) -> int:
    """Of a rectangle, along an axis: a power of two."""
    return min(longest, 1 << (nominal(axis.extent) - 1).bit_length())


class _Writer:
    def __init__(self, func: tirx.PrimFunc, copy: Copy, part: Rectangle) -> None:
        self.func, self.copy, self.part = func, copy, part
        sizes = [size for parameter in func.params if tirx.is_buffer_var(parameter) for size in parameter.shape]
        self.loops = Loops("int32" if all(static(size) is not None for size in sizes) else "int64")

    def write(self) -> None:
        """Parameters, and the kernel."""
        given, *scalars, made = self.func.params
        given = argument("in0", given.shape, given.dtype)
        for scalar in scalars:
            T.arg(scalar.name, scalar)
        made = argument("out0", made.shape, made.dtype)
        source, result = flat(given), flat(made)
        columns, rows, outer = self.copy.inner_in, self.copy.inner_out, self.copy.outer
        part = self.part
        across, down = ceildiv(columns.extent, part.columns), ceildiv(rows.extent, part.rows)
        blocks = product(axis.extent for axis in outer) * down * across
        with launch(blocks, part.threads, self.loops) as (block, thread):
            rest, column = self.loops.split(block, across)
            position, row = self.loops.split(rest, down)
            at = self.loops.unravel(position, [axis.extent for axis in outer])
            tile = T.alloc_buffer((part.rows, part.stride), given.dtype, scope="shared")
            row, column = T.Bind(row * part.rows), T.Bind(column * part.columns)
            load, store = (self._start(at, [getattr(axis, side) for axis in outer]) for side in ("load", "store"))
            for i in range(part.steps):
                y, x = self.loops.split(i * part.threads + thread, part.columns)
                with when(self._inside(row + y, column + x)):
                    T.buffer_store(tile, source[load + (row + y) * rows.load + column + x], [y, x])
            synchronize()
            for i in range(part.steps):
                x, y = self.loops.split(i * part.threads + thread, part.rows)
                with when(self._inside(row + y, column + x)):
                    T.buffer_store(result, tile[y, x], [store + row + y + (column + x) * columns.store])

    def _start(self, at: Sequence[Expr], steps: Sequence[Dim]) -> Expr:
        return T.Bind(sum((place * step for place, step in zip(at, steps, strict=True)), self.loops.const(0)))

    def _inside(self, row: Expr, column: Expr) -> Expr | None:
        """Whether a place is within both axes; None where all are."""
        part = self.part
        edges = (self.copy.inner_out, row, part.rows), (self.copy.inner_in, column, part.columns)
        ragged = [
            index < self.loops.const(axis.extent)
            for axis, index, side in edges
            if not (isinstance(axis.extent, int) and axis.extent % side == 0)
        ]
        return tirx.all(*ragged) if ragged else None


@dataclass(frozen=True)
class Transpose:
    """Copies whose contiguous axes differ, and are long enough."""

    name: str = "gpu.transpose"

    def match(self, workload: Workload, machine: Gpu) -> TransposeSpace | Refusal:
        """The space, where the body is one such copy."""
        found = transposing_copy(workload)
        if isinstance(found, Refusal):
            return found
        func, copy = found
        if min(nominal(axis.extent) for axis in (copy.inner_in, copy.inner_out)) < SMALLEST:
            return Refusal(f"an axis is shorter than {SMALLEST} elements")
        return TransposeSpace(func, copy, machine)
