"""Direct convolution: a register tile of pixels by vectors of output channels, input elements broadcast.

Per task: the padded rows it needs go to scratch; then for each panel of output channels (packed weights, streamed
from L2) and each tile of pixels, the whole reduction runs in registers and the epilogue stores the tile. Tiles that
would stick out at the end of a row are moved back and overlap their neighbour: same values, no predicate.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import gcd

import numpy as np
from tvm import tirx
from tvm.ir import Expr
from tvm.tirx.script.builder import ir as T

from dsc.elements import BY_DTYPE_NAME, stored
from dsc.lower.exprs import Dim, ceildiv, divides, minimum, product
from dsc.targets.cpu.conv.cost import together
from dsc.targets.cpu.conv.elements import Elements
from dsc.targets.cpu.conv.epilogue import Writer
from dsc.targets.cpu.conv.problem import Convolution, Frame, Region
from dsc.targets.cpu.conv.source import Rows, Source
from dsc.targets.cpu.gemm.product import in_memory
from dsc.targets.cpu.machine import Cpu
from dsc.targets.cpu.tile import RegisterTile, as_elements
from dsc.targets.kernel import ArrayType, Implementation
from dsc.targets.machine import MultiplyAdd
from dsc.targets.tir.loops import Kind, Loops, prefetch, tile_widths, when

LINE = 16
"""Sums whose weights for a step are in a cache line: floats, or as many bytes as are multiplied at once."""
UNROLL = 64
"""Instructions that multiply or add, written out in an innermost loop at most."""


@dataclass(frozen=True)
class PackWeights:
    """[OC, IC, KH, KW] to [groups, panels, IC/inner, KH, KW, inner/k, panel*k].

    What the last panel of a group and the last `inner` channels lack is 0. Of each output channel, `k` channels of the
    input lie side by side, as instructions want them that add several products at once. Where the pixels under a row of
    the filter are joined, all that is in a row are channels of one column.
    """

    groups: int
    panel: int
    inner: int
    k: int
    dtype: str
    """Of the elements, as they are packed: of 8 bits, or as they are multiplied, which others are rounded to."""
    sums: bool = False
    """Whether the sums of all output channels come as a second array, in int32."""
    joined: bool = False
    """Whether the columns of a row of the filter are joined."""

    def shape(self, oc: int, ic: int, kh: int, kw: int) -> tuple[int, ...]:
        """The packed shape of weights of that shape."""
        ic, kw = (ic * kw, 1) if self.joined else (ic, kw)
        panels = ceildiv(oc // self.groups, self.panel)
        return self.groups, panels, ceildiv(ic, self.inner), kh, kw, self.inner // self.k, self.panel * self.k

    def arrays(self, weight: ArrayType) -> tuple[ArrayType, ...]:
        """The panels, and the sums."""
        panels = ArrayType(self.shape(*weight.shape), in_memory(self.dtype))
        return (panels, ArrayType((weight.shape[0],), "int32")) if self.sums else (panels,)

    def apply(self, array: np.ndarray) -> tuple[np.ndarray, ...]:
        """The packed copy, and the sums."""
        shape = self.shape(*array.shape)
        groups, panels, blocks, *_ = shape
        rounded = stored(array.astype(BY_DTYPE_NAME[self.dtype].dtype, copy=False))
        if self.joined:
            rounded = _joined(rounded)
        oc, ic, kh, kw = rounded.shape
        grouped = rounded.reshape(groups, oc // groups, ic, kh, kw)
        more = [(0, 0), (0, panels * self.panel - oc // groups), (0, blocks * self.inner - ic), (0, 0), (0, 0)]
        split = np.pad(grouped, more).reshape(groups, panels, self.panel, blocks, self.inner // self.k, self.k, kh, kw)
        packed = np.ascontiguousarray(split.transpose(0, 1, 3, 6, 7, 4, 2, 5)).reshape(shape)
        return (packed, array.sum(axis=(1, 2, 3), dtype=np.int32)) if self.sums else (packed,)


def _joined(weight: np.ndarray) -> np.ndarray:
    """[OC, IC, KH, KW] as [OC, KW*IC, KH, 1]: channels of a pixel lie side by side, pixels follow one another."""
    oc, ic, kh, kw = weight.shape
    return weight.transpose(0, 3, 1, 2).reshape(oc, kw * ic, kh, 1)


@dataclass(frozen=True)
class DirectPoint:
    """How a direct convolution is tiled."""

    lanes: int
    """Output channels in a vector."""
    vectors: int
    """Vectors in a panel."""
    width: int
    """Pixels in a tile."""
    rows: int
    """Rows of the result (tiles, where the convolution is pointwise) in a task."""
    panels: int
    """Panels in a task."""
    joined: bool
    """Whether the pixels under a row of the filter are multiplied as one run of elements, not each with zeros beyond
    its channels."""

    @property
    def panel(self) -> int:
        """Output channels in a panel."""
        return self.lanes * self.vectors


def implement(region: Region, point: DirectPoint, machine: Cpu) -> Implementation:
    """The function of one point and how its weights are packed."""
    conv, instruction = region.conv, instruction_of(region, point, machine)
    seen = region.read_by(instruction, point.joined)
    corrected = instruction.b == "int8"
    packed = packed_type(region, instruction, machine)
    packing = PackWeights(conv.groups, point.panel, seen.neighbours, instruction.k, packed, corrected, point.joined)
    frame = region.frame(packing)
    with frame.function() as made:
        elements = region.elements(instruction.a, frame)
        for fits, width in tile_widths(columns_of(seen), point.width):
            with when(fits):
                _Nest(seen, frame, replace(point, width=width), machine, instruction, elements).write()
    return Implementation(made.get(), {region.position(region.weight): packing})


def instruction_of(region: Region, point: DirectPoint, machine: Cpu) -> MultiplyAdd:
    """The one that a point is tiled for."""
    return next(row for row in region.instructions(machine) if row.n == point.lanes)


def packed_type(region: Region, instruction: MultiplyAdd, machine: Cpu) -> str:
    """The type in which weights are packed: bytes that loading widens stay bytes, of half the size."""
    return "int8" if region.integer and machine.widening_loads else instruction.b


def columns_of(conv: Convolution) -> Dim:
    """Pixels in a row of the result; a pointwise convolution sees an image as one row."""
    return product((conv.oh, conv.ow)) if conv.pointwise else conv.ow


@dataclass(frozen=True)
class _Task:
    """What one task computes."""

    n: Expr
    group: Expr
    first_row: Expr
    source: Rows


@dataclass(frozen=True)
class _Taps:
    """What a part of the reduction multiplies: of which tile, and under which part of the filter."""

    task: _Task
    panel: Expr
    row: Expr
    """Of the result, in the task."""
    column: Expr
    """The first of the tile."""
    outer: Expr
    """Block of neighbours."""
    kh: Expr
    kw: Expr


class _Nest:
    """Writes the code of one point."""

    def __init__(
        self,
        conv: Convolution,
        frame: Frame,
        point: DirectPoint,
        machine: Cpu,
        instruction: MultiplyAdd,
        elements: Elements,
    ) -> None:
        self.conv, self.frame, self.point, self.loops = conv, frame, point, Loops()
        self.instruction, self.elements = instruction, elements
        self.per_group = conv.c // conv.groups
        self.inner = conv.neighbours
        self.depth = together(machine, instruction, self.inner)
        self.columns = columns_of(conv)

    def write(self) -> None:
        """The whole convolution."""
        conv, point, loops = self.conv, self.point, self.loops
        # A group begins at a multiple of `inner` in its first block, at worst at the last one.
        blocks = 1 if conv.run else ceildiv(conv.block - self.inner + self.per_group, conv.block)
        source = Source(conv, self.frame.x, point.rows, blocks, self.elements, one_row=conv.pointwise)
        rows = ceildiv(self.columns, point.width) if conv.pointwise else conv.oh
        panels = ceildiv(conv.oc // conv.groups, point.panel)
        shape = (conv.n, conv.groups, ceildiv(panels, point.panels), ceildiv(rows, point.rows))
        with loops.each(product(shape), T.parallel) as position:
            n, group, panel_chunk, row_chunk = loops.unravel(position, shape)
            first_row, first_panel = row_chunk * point.rows, panel_chunk * point.panels
            count = point.rows if divides(point.rows, rows) else minimum(point.rows, rows - first_row)
            here = point.panels if divides(point.panels, panels) else minimum(point.panels, panels - first_panel)
            first_block = tirx.floordiv(group * self.per_group, conv.block)
            task = _Task(n, group, first_row, source.prepared(n, first_block, first_row, count))
            with loops.each(here) as panel, loops.each(count) as row:
                self._row(task, first_panel + panel, row)

    def _row(self, task: _Task, panel: Expr, row: Expr) -> None:
        """The tiles of a row; of one long row, `row` counts the tiles themselves."""
        width = self.point.width
        if self.conv.pointwise:
            self._tile(task, panel, row, (task.first_row + row) * width)
            return
        with self.loops.each(ceildiv(self.columns, width)) as tile:
            self._tile(task, panel, row, tile * width)

    def _tile(self, task: _Task, panel: Expr, row: Expr, start: Expr) -> None:
        """One register tile: the reduction, then the epilogue."""
        point = self.point
        if not divides(point.width, self.columns):
            start = minimum(start, self.columns - point.width)
        column = self.loops.bind(start)
        tile = RegisterTile(self.instruction, point.width, point.panel, point.lanes)
        writer = Writer(self.frame.epilogue, self.store_lanes)
        tile.clear()
        self._reduce(tile, task, panel, row, column)
        self._store(tile, writer, task, panel, task.first_row + row, column)

    def _reduce(self, tile: RegisterTile, task: _Task, panel: Expr, row: Expr, column: Expr) -> None:
        conv, point, loops, k = self.conv, self.point, self.loops, self.instruction.k
        written = point.width * point.vectors * (1 if self.instruction.accumulates else 2)
        unroll = max(1, UNROLL // written)
        steps = self.inner // k
        blocks, rows, columns = conv.walked
        # The last part of a run is written by itself, where it ends in what belongs to no tap.
        parts = steps // self.depth - (1 if conv.beyond else 0)
        kw_kind, inner_kind = _unrolled(columns, unroll // steps), _unrolled(parts, unroll)
        with loops.each(blocks) as outer, loops.each(rows) as kh, loops.each(columns, kw_kind) as kw:
            at = _Taps(task, panel, row, column, outer, kh, kw)
            if parts > 0:
                with loops.each(parts, inner_kind) as part:
                    self._multiply(tile, at, part * self.depth)
            if conv.beyond:
                self._multiply(tile, at, loops.const(parts * self.depth), self.depth * k - conv.beyond)

    def _multiply(self, tile: RegisterTile, at: _Taps, step: Expr, count: int | None = None) -> None:
        """The steps from `step` on whose elements are loaded together; of which the first `count` belong to taps."""
        conv, point, loops, k = self.conv, self.point, self.loops, self.instruction.k
        block, lane = self._channel(at.task, at.outer, step * k)
        places = [(at.column + i) * conv.strides[1] + at.kw * conv.dilations[1] for i in range(point.width)]
        lanes = loops.span(lane, self.depth * k)
        taps = [at.task.source.element(block, lanes, at.row, at.kh, place) for place in places]
        if count is not None:
            taps = [self.elements.first(tap, count) for tap in taps]

        def weights(later: int) -> list[Expr]:
            place = [at.outer, at.kh, at.kw, step + later]
            # The next panel is read from memory by the time this one is done.
            for start, _ in tile.vectors:
                if (later * point.panel + start) % LINE == 0:
                    prefetch(self.frame.weight, [at.task.group, at.panel + 1, *place, loops.const(start * k)])
            loaded = (
                self.frame.weight[(at.task.group, at.panel, *place, loops.span(start * k, lanes * k))]
                for start, lanes in tile.vectors
            )
            return [as_elements(vector, in_memory(self.instruction.b)) for vector in loaded]

        tile.steps(taps, weights)

    def _channel(self, task: _Task, outer: Expr, c: Expr) -> tuple[Expr, Expr]:
        """Block, among those of the task, and place in it of channel ``outer * inner + c`` of the group."""
        conv = self.conv
        if conv.groups == 1:
            return outer, c
        channel = tirx.floormod(task.group * self.per_group, conv.block) + outer * self.inner
        return tirx.floordiv(channel, conv.block), tirx.floormod(channel, conv.block) + c

    def _store(self, tile: RegisterTile, writer: Writer, task: _Task, panel: Expr, row: Expr, column: Expr) -> None:
        """The epilogue of all pixels of a tile."""
        conv, point = self.conv, self.point
        per_group = conv.oc // conv.groups
        for i in range(point.width):
            pixel = column + i
            h, w = (tirx.floordiv(pixel, conv.ow), tirx.floormod(pixel, conv.ow)) if conv.pointwise else (row, pixel)
            for start in range(0, point.panel, writer.lanes):
                inside = panel * point.panel + start

                channel = task.group * per_group + inside

                def value(lane: Expr, i: int = i, start: int = start, channel: Expr = channel) -> Expr:
                    return self.elements.corrected(tile.sums[i, start + lane], channel + lane)

                with when(None if per_group % point.panel == 0 else inside < per_group):
                    writer.store(task.n, channel, h, w, value)

    @property
    def store_lanes(self) -> int:
        """Channels that are stored together: they lie in one block, one vector and one group."""
        per_group = self.conv.oc // self.conv.groups
        return gcd(self.point.lanes, self.frame.epilogue.block, per_group if self.conv.groups > 1 else 0)


def _unrolled(extent: int, limit: int) -> Kind:
    """Short innermost loops are written out; long ones stay loops, whose counter costs nothing there."""
    kind: Kind = T.unroll if extent <= min(4, limit) or extent <= limit <= 8 else T.serial
    return kind
