"""Copies that turn rows into columns, by way of shared memory.

Where the axis that is contiguous in the result is not the one that is contiguous in the input, a thread for each
element of the result would read a piece of memory of its own. So a block reads a square with its threads along the
input's rows, and writes it with its threads along the result's.
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
"""Of the square that a block turns."""
SMALLEST = 8
"""An axis that is shorter leaves most of a square empty."""


@dataclass(frozen=True)
class Square:
    """The point of a transpose: how many threads share a column of the square."""

    down: int

    @property
    def threads(self) -> int:
        """In a block."""
        return SIDE * self.down


@dataclass(frozen=True, eq=False)
class TransposeSpace:
    """One transposing copy."""

    func: tirx.PrimFunc
    """Computes it, without a schedule."""
    copy: Copy
    machine: Gpu

    def points(self) -> tuple[Square, ...]:
        """Few threads with more elements each, or more with fewer."""
        return Square(8), Square(4)

    def estimate(self, point: Square) -> float:
        """Seconds: the bytes that are read and written, and what squares beyond the edges waste."""
        source = self.func.params[0]
        squares = math.prod(nominal(axis.extent) for axis in self.copy.outer) * self._squares
        steps = SIDE // point.down
        cycles = squares * point.down * steps * 4.0
        moved = 2.0 * volume(source.shape) * element_bits(source) // 8
        return seconds(self.machine, Launch(squares, point.threads, cycles, moved, shared_bytes=4 * SIDE * (SIDE + 1)))

    @property
    def _squares(self) -> int:
        axes = self.copy.inner_in, self.copy.inner_out
        return math.prod(math.ceil(nominal(axis.extent) / SIDE) for axis in axes)

    def build(self, point: Square) -> Implementation:
        """The code."""
        with function() as made:
            _Writer(self.func, self.copy, point).write()
        return Implementation(made.get())


class _Writer:
    def __init__(self, func: tirx.PrimFunc, copy: Copy, square: Square) -> None:
        self.func, self.copy, self.square = func, copy, square
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
        across, down = ceildiv(columns.extent, SIDE), ceildiv(rows.extent, SIDE)
        blocks = product(axis.extent for axis in outer) * down * across
        with launch(blocks, self.square.threads, self.loops) as (block, thread):
            rest, column = self.loops.split(block, across)
            position, row = self.loops.split(rest, down)
            at = self.loops.unravel(position, [axis.extent for axis in outer])
            y, x = self.loops.split(thread, SIDE)
            tile = T.alloc_buffer((SIDE, SIDE + 1), given.dtype, scope="shared")
            row, column = T.Bind(row * SIDE), T.Bind(column * SIDE)
            load, store = (self._start(at, [getattr(axis, side) for axis in outer]) for side in ("load", "store"))
            for i in range(0, SIDE, self.square.down):
                with when(self._inside(rows, row + y + i, columns, column + x)):
                    element = source[load + (row + y + i) * rows.load + column + x]
                    T.buffer_store(tile, element, [y + i, x])
            synchronize()
            for i in range(0, SIDE, self.square.down):
                with when(self._inside(rows, row + x, columns, column + y + i)):
                    place = store + row + x + (column + y + i) * columns.store
                    T.buffer_store(result, tile[x, y + i], [place])

    def _start(self, at: Sequence[Expr], steps: Sequence[Dim]) -> Expr:
        return T.Bind(sum((place * step for place, step in zip(at, steps, strict=True)), self.loops.const(0)))

    def _inside(self, rows: Axis, row: Expr, columns: Axis, column: Expr) -> Expr | None:
        """Whether a place is within both axes; None where all are."""
        ragged = [
            index < self.loops.const(axis.extent)
            for axis, index in ((rows, row), (columns, column))
            if not (isinstance(axis.extent, int) and axis.extent % SIDE == 0)
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
