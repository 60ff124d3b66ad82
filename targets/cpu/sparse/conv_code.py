"""The code of a convolution with a sparse weight."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from math import gcd

from tvm import tirx
from tvm.ir import Expr
from tvm.tirx.script.builder import ir as T

from dsc.lower.exprs import ceildiv, divides, minimum, product
from dsc.targets.cpu.conv.elements import Elements
from dsc.targets.cpu.conv.epilogue import Writer
from dsc.targets.cpu.conv.problem import Frame, Region
from dsc.targets.cpu.sparse.conv_source import Source
from dsc.targets.cpu.sparse.entries import Entries
from dsc.targets.cpu.sparse.panel import Panel, Stream, square_of
from dsc.targets.cpu.sparse.plane import Plane
from dsc.targets.kernel import Implementation
from dsc.targets.machine import MultiplyAdd
from dsc.targets.tir.loops import Loops, when


@dataclass(frozen=True)
class SparseConvPoint:
    """How a sparse convolution is tiled."""

    vectors: int
    """Of pixels in a tile."""
    rows: int
    """Of the result in a task: a strip."""
    panels: int
    """In a task, each of as many output channels as a vector has lanes."""


def plane_of(region: Region, point: SparseConvPoint, instruction: MultiplyAdd) -> Plane:
    """The scratch of a task."""
    return Plane(region.conv, point.rows, square_of(instruction))


def implement(region: Region, point: SparseConvPoint, instruction: MultiplyAdd, packing: Entries) -> Implementation:
    """The function of one point, and how its weights are packed."""
    frame = region.frame(packing)
    with frame.function() as made:
        _Nest(region, frame, point, instruction, region.elements(instruction.a, frame)).write()
    return Implementation(made.get(), {region.position(region.weight): packing})


class _Nest:
    """Writes the code of one point."""

    def __init__(
        self, region: Region, frame: Frame, point: SparseConvPoint, instruction: MultiplyAdd, elements: Elements
    ) -> None:  # fmt: skip
        self.conv, self.frame, self.point, self.loops = region.conv, frame, point, Loops()
        self.instruction, self.lanes, self.elements = instruction, instruction.n, elements
        self.plane = plane_of(region, point, instruction)
        self.columns = point.vectors * self.lanes
        """Of a tile."""

    def write(self) -> None:
        """The whole convolution: a task is a strip of rows, and some panels."""
        conv, point, loops = self.conv, self.point, self.loops
        source = Source(self.plane, self.frame.x, self.elements, square_of(self.instruction), self.columns)
        panels = ceildiv(conv.oc, self.lanes)
        shape = (conv.n, ceildiv(panels, point.panels), ceildiv(conv.oh, point.rows))
        with loops.each(product(shape), T.parallel) as position:
            n, chunk, strip = loops.unravel(position, shape)
            first_row, first_panel = T.Bind(strip * point.rows), T.Bind(chunk * point.panels)
            scratch = T.alloc_buffer((source.size,), self.elements.multiplied)
            source.fill(scratch, n, first_row)
            stream = Stream.of(self.frame.packed, self.instruction.k)
            sums = Panel(stream, self.instruction, self.columns, loops)
            count = point.panels if divides(point.panels, panels) else minimum(point.panels, panels - first_panel)
            with loops.each(count) as i, loops.each(ceildiv(self.plane.pixels, self.columns)) as tile:
                panel, first = T.Bind(first_panel + i), T.Bind(tile * self.columns)
                sums.multiply(panel, lambda at: scratch[first + at])
                self._store(sums, n, panel, first_row, first)

    def _store(self, sums: Panel, n: Expr, panel: Expr, first_row: Expr, first: Expr) -> None:
        """The outputs of a tile: those of its columns that are pixels."""
        conv, lanes = self.conv, gcd(self.lanes, self.frame.epilogue.block)
        writer = Writer(self.frame.epilogue, lanes)

        def store(pixel: Expr, i: int, rows: tirx.Buffer) -> None:
            line, column = self.loops.split(T.Bind(first + pixel), self.plane.pitch)
            row = T.Bind(first_row + line)
            inside = [line < self.point.rows, row < conv.oh, column < conv.ow]
            with when(tirx.all(*inside)):
                for c in range(0, self.lanes, lanes):
                    channel = panel * self.lanes + c
                    with when(None if conv.oc % self.lanes == 0 else channel < conv.oc):
                        writer.store(n, channel, row, column, partial(self._sum, rows, i, panel, c))

        sums.rows(store)

    def _sum(self, rows: tirx.Buffer, column: int, panel: Expr, first: int, lane: Expr) -> Expr:
        """Of output channel `first + lane` of a panel, for a column."""
        return self.elements.corrected(rows[column, first + lane], panel * self.lanes + first + lane)
