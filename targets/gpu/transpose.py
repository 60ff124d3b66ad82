"""Copies that turn rows into columns, by way of shared memory.

Where the axis that is contiguous in the result is not the one that is contiguous in the input, a thread for each
element of the result would read a piece of memory of its own. So a block reads a square with its threads along the
input's rows, and writes it with its threads along the result's. An axis that is shorter than the square's side, as the
channels of a block in a packed image, makes the square a rectangle. Where the rows of either side follow one another in
memory, as the channels of plain images do, a rectangle of whole rows is one piece of it, however odd they are.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product as product_of

import numpy as np
from tvm import tirx
from tvm.ir import Expr
from tvm.tirx.script.builder import ir as T

from dsc.lower.exprs import Dim, ceildiv, product, same, static
from dsc.lower.nominal import nominal, volume
from dsc.lower.workload import Workload
from dsc.targets.cpu.generic.stages import element_bits
from dsc.targets.cpu.transpose import Axis, Copy, transposing_copy
from dsc.targets.gpu.estimate import Launch, seconds
from dsc.targets.gpu.launch import launch, synchronize
from dsc.targets.gpu.machine import Gpu
from dsc.targets.gpu.sectors import touched
from dsc.targets.kernel import Implementation, Refusal
from dsc.targets.tir.loops import Loops, argument, flat, function, when

SIDE = 32
"""Of the square that a block turns, where pieces of memory are no longer."""
LONGEST = 256
"""Elements of a row that a block takes as a whole."""
STEPS = (1, 2, 4, 8, 16)
"""Elements of a thread."""
WASTE = 1.15
"""Times the pieces of memory that are touched at best: rectangles that touch more are left out."""
TILES = 3
"""Rectangles that are looked at to count these, along either axis."""
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
        """Elements of a thread, at most."""
        return ceildiv(self.elements, self.threads)

    @property
    def elements(self) -> int:
        """Of a block."""
        return self.rows * self.columns

    @property
    def is_shared_evenly(self) -> bool:
        """Whether all threads have as many elements."""
        return self.elements % self.threads == 0

    @property
    def stride(self) -> int:
        """Of rows in shared memory: threads along a column go to different banks, also where these are short."""
        apart = max(1, SIDE // self.rows)
        return self.columns + (apart if SIDE % min(SIDE, self.columns) == 0 else (apart - self.columns) % SIDE)


@dataclass(frozen=True, eq=False)
class TransposeSpace:
    """One transposing copy."""

    func: tirx.PrimFunc
    """Computes it, without a schedule."""
    copy: Copy
    machine: Gpu

    def points(self) -> tuple[Rectangle, ...]:
        """Few threads with more elements each, or more with fewer; squares, or whole rows."""
        found = [
            Rectangle(rows, columns, threads)
            for rows, columns in self._sides()
            for threads in dict.fromkeys(_power(ceildiv(rows * columns, steps)) for steps in STEPS)
            if SIDE <= threads <= self.machine.max_threads
        ]
        found = [point for point in found if self._shared_bytes(point) <= self.machine.shared_bytes]
        least = min(map(self._sectors, found))
        return tuple(point for point in found if self._sectors(point) <= WASTE * least)

    def _sides(self) -> Iterator[tuple[int, int]]:
        """Rows and columns: powers of two, or all of an axis whose lines follow one another in memory."""
        down, across = self.copy.inner_out, self.copy.inner_in
        longest = max(SIDE, self.machine.sector_bytes * 8 // self._bits)
        rows, columns = (min(longest, _power(nominal(axis.extent))) for axis in (down, across))
        yield rows, columns
        if isinstance(across.extent, int) and columns != across.extent <= LONGEST and same(down.load, across.extent):
            yield rows, across.extent
        if isinstance(down.extent, int) and rows != down.extent <= LONGEST and same(across.store, down.extent):
            yield down.extent, columns

    @property
    def _bits(self) -> int:
        """Of an element."""
        return element_bits(self.func.params[0])

    def _shared_bytes(self, point: Rectangle) -> int:
        return point.rows * point.stride * self._bits // 8

    def estimate(self, point: Rectangle) -> float:
        """Seconds: the bytes that are read and written, and what rectangles beyond the edges waste."""
        blocks = self._blocks(point)
        cycles = blocks * point.elements / self.machine.warp * 4.0
        moved = 2.0 * volume(self.func.params[0].shape) * self._bits // 8
        asked = max(1, point.steps * self._bits // 8)
        l2_bytes = self._sectors(point) * self.machine.sector_bytes
        launch = Launch(
            blocks, point.threads, cycles, moved, l2_bytes, shared_bytes=self._shared_bytes(point),
            in_flight_bytes=asked,
        )  # fmt: skip
        return seconds(self.machine, launch)

    def _blocks(self, point: Rectangle) -> int:
        down, across = (
            math.ceil(nominal(axis.extent) / side)
            for axis, side in ((self.copy.inner_out, point.rows), (self.copy.inner_in, point.columns))
        )
        return math.prod(nominal(axis.extent) for axis in self.copy.outer) * down * across

    def _sectors(self, point: Rectangle) -> float:
        """Pieces of memory that all warps touch, by those of a few rectangles."""
        down, across = self.copy.inner_out, self.copy.inner_in
        thread = np.arange(math.ceil(point.threads / self.machine.warp) * self.machine.warp)
        flat = np.arange(point.steps)[:, None] * point.threads + thread
        flat = np.where(thread < point.threads, flat, point.steps * point.threads).reshape(-1, self.machine.warp)
        y, x = np.divmod(flat, point.columns)
        loaded = self._touched(point, y, x, (down.load, across.load))
        x, y = np.divmod(flat, point.rows)
        return (loaded + self._touched(point, y, x, (down.store, across.store))) * self._blocks(point)

    def _touched(self, point: Rectangle, y: np.ndarray, x: np.ndarray, apart: tuple[Dim, Dim]) -> float:
        """By the elements of threads, `[warps, lanes]`, in one rectangle; apart: steps down and across in memory."""
        down, across, size = self.copy.inner_out, self.copy.inner_in, max(1, self._bits // 8)
        found = []
        for top, left in product_of(_starts(down, point.rows), _starts(across, point.columns)):
            row, column = top + y, left + x
            inside = (y < point.rows) & (row < nominal(down.extent))
            inside &= (x < point.columns) & (column < nominal(across.extent))
            place = (row * nominal(apart[0]) + column * nominal(apart[1])) * size
            found.append(touched(place, size, inside, self.machine.sector_bytes).sum())
        return float(np.mean(found))

    def build(self, point: Rectangle) -> Implementation:
        """The code."""
        with function() as made:
            _Writer(self.func, self.copy, point).write()
        return Implementation(made.get())


def _power(count: int) -> int:
    """The least power of two that is not less."""
    return 1 << (count - 1).bit_length()


def _starts(axis: Axis, side: int) -> np.ndarray:
    """Where some rectangles begin."""
    count = math.ceil(nominal(axis.extent) / side)
    return np.unique(np.linspace(0, count - 1, TILES).astype(np.int64)) * side


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
                with when(self._inside(row + y, column + x, y < self.loops.const(part.rows))):
                    T.buffer_store(tile, source[load + (row + y) * rows.load + column + x], [y, x])
            synchronize()
            for i in range(part.steps):
                x, y = self.loops.split(i * part.threads + thread, part.rows)
                with when(self._inside(row + y, column + x, x < self.loops.const(part.columns))):
                    T.buffer_store(result, tile[y, x], [store + row + y + (column + x) * columns.store])

    def _start(self, at: Sequence[Expr], steps: Sequence[Dim]) -> Expr:
        return T.Bind(sum((place * step for place, step in zip(at, steps, strict=True)), self.loops.const(0)))

    def _inside(self, row: Expr, column: Expr, is_element: Expr) -> Expr | None:
        """Whether a place is within both axes, and one of the rectangle's; None where all are."""
        part = self.part
        edges = (self.copy.inner_out, row, part.rows), (self.copy.inner_in, column, part.columns)
        ragged = [
            index < self.loops.const(axis.extent)
            for axis, index, side in edges
            if not (isinstance(axis.extent, int) and axis.extent % side == 0)
        ]
        if not part.is_shared_evenly:
            ragged.append(is_element)
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
