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

from dsc.targets.cpu.conv.emit import (
    Dim,
    Stmt,
    Vectors,
    bind,
    broadcast,
    ceildiv,
    coordinates,
    divides,
    in_tiles,
    index,
    least,
    loop,
    parallel,
    prefetch,
    product,
    seq,
    span,
    when,
)
from dsc.targets.cpu.conv.epilogue import Writer
from dsc.targets.cpu.conv.problem import Convolution, Frame, Region
from dsc.targets.cpu.conv.source import Source
from dsc.targets.kernel import ArrayType, Implementation

UNROLL = 64
"""Multiply-adds written out in an innermost loop at most."""


@dataclass(frozen=True)
class PackWeights:
    """[OC, IC, KH, KW] to [groups, panels, IC/inner, KH, KW, inner, panel], the last panel of a group zero-filled."""

    groups: int
    panel: int
    inner: int

    def shape(self, oc: int, ic: int, kh: int, kw: int) -> tuple[int, ...]:
        """The packed shape of weights of that shape."""
        panels = -(-oc // self.groups // self.panel)
        return self.groups, panels, ic // self.inner, kh, kw, self.inner, self.panel

    def arrays(self, weight: ArrayType) -> tuple[ArrayType]:
        """One, of the same type."""
        return (replace(weight, shape=self.shape(*weight.shape)),)

    def apply(self, array: np.ndarray) -> tuple[np.ndarray]:
        """The packed copy."""
        oc, ic, kh, kw = array.shape
        groups, panels, *_ = self.shape(*array.shape)
        grouped = array.reshape(groups, oc // groups, ic, kh, kw)
        filled = np.pad(grouped, [(0, 0), (0, panels * self.panel - oc // groups), (0, 0), (0, 0), (0, 0)])
        split = filled.reshape(groups, panels, self.panel, ic // self.inner, self.inner, kh, kw)
        return (np.ascontiguousarray(split.transpose(0, 1, 3, 5, 6, 4, 2)),)


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

    @property
    def panel(self) -> int:
        """Output channels in a panel."""
        return self.lanes * self.vectors


def implement(region: Region, point: DirectPoint) -> Implementation:
    """The function of one point and how its weights are packed."""
    conv = region.conv
    packing = PackWeights(conv.groups, point.panel, gcd(conv.c // conv.groups, conv.block))
    frame = region.frame(packing.shape(*conv.weight_shape))
    columns = columns_of(conv)
    body = in_tiles(columns, point.width, lambda width: _Nest(conv, frame, replace(point, width=width)).tasks())
    return Implementation(frame.function(body), {region.position(region.weight): packing})


def columns_of(conv: Convolution) -> Dim:
    """Pixels in a row of the result; a pointwise convolution sees an image as one row."""
    return product(conv.oh, conv.ow) if conv.pointwise else conv.ow


class _Nest:
    """Writes the code of one point."""

    def __init__(self, conv: Convolution, frame: Frame, point: DirectPoint) -> None:
        self.conv, self.frame, self.point = conv, frame, point
        per_group = conv.c // conv.groups
        self.inner = gcd(per_group, conv.block)
        # A group begins at a multiple of `inner` in its first block, at worst at the last one.
        blocks = -(-(conv.block - self.inner + per_group) // conv.block)
        self.source = Source(conv, frame.x, point.rows, blocks, one_row=conv.pointwise)
        self.accumulators = Vectors("acc", point.width * point.vectors, point.lanes)
        self.columns = columns_of(conv)

    def tasks(self) -> Stmt:
        """The whole convolution."""
        conv, point, width = self.conv, self.point, self.point.width
        rows = ceildiv(self.columns, width) if conv.pointwise else conv.oh
        panels = ceildiv(conv.oc // conv.groups, point.panel)
        shape = (conv.n, conv.groups, ceildiv(panels, point.panels), ceildiv(rows, point.rows))

        def task(n: Expr, group: Expr, panel_chunk: Expr, row_chunk: Expr) -> Stmt:
            first_row = row_chunk * point.rows
            first_panel = panel_chunk * point.panels
            count = point.rows if divides(point.rows, rows) else least(point.rows, rows - first_row)
            here = point.panels if panels % point.panels == 0 else least(point.panels, panels - first_panel)
            per_group = conv.c // conv.groups
            first_block = tirx.floordiv(group * per_group, conv.block)

            def panel(p: Expr) -> Stmt:
                def row(r: Expr) -> Stmt:
                    if conv.pointwise:
                        return self._tile(n, group, first_panel + p, index(0), index(0), (first_row + r) * width)
                    tiles = ceildiv(self.columns, width)
                    return loop(
                        tiles,
                        lambda t: self._tile(n, group, first_panel + p, first_row, r, t * width),
                        "tile",
                    )

                return loop(count, row, "row")

            return seq(self.source.prepare(n, first_block, first_row, count), loop(here, panel, "panel"))

        tasks = parallel(product(*shape), lambda position: coordinates(position, shape, task))
        return seq(self.source.declare(), tasks)

    def _tile(self, n: Expr, group: Expr, panel: Expr, first_row: Expr, row: Expr, start: Expr) -> Stmt:
        """One register tile: the reduction, then the epilogue."""
        width = self.point.width
        if not divides(width, self.columns):
            start = least(start, self.columns - width)

        writer = Writer(self.frame.epilogue, self.store_lanes)

        def tile(column: Expr) -> Stmt:
            return seq(
                self.accumulators.allocate(),
                *writer.allocate(),
                self.accumulators.clear(),
                self._reduce(n, group, panel, first_row, row, column),
                *self._stores(writer, n, group, panel, first_row + row, column),
            )

        return bind("column", start, tile)

    def _reduce(self, n: Expr, group: Expr, panel: Expr, first_row: Expr, row: Expr, column: Expr) -> Stmt:
        conv, point = self.conv, self.point
        per_group = conv.c // conv.groups
        origin = group * per_group
        first_block = tirx.floordiv(origin, conv.block)

        def step(outer: Expr, kh: Expr, kw: Expr, c: Expr) -> Stmt:
            channel = tirx.floormod(origin, conv.block) + outer * self.inner
            block, lane = (outer, c) if conv.groups == 1 else (
                tirx.floordiv(channel, conv.block), tirx.floormod(channel, conv.block) + c)  # fmt: skip
            # The next panel is read from memory by the time this one is done.
            parts = [
                prefetch(self.frame.weight, [group, panel + 1, outer, kh, kw, c, index(v * point.lanes)])
                for v in range(point.vectors)
            ]
            for i in range(point.width):
                place = (column + i) * conv.strides[1] + kw * conv.dilations[1]
                x = broadcast(self.source.scalar(n, first_block, block, lane, first_row, row, kh, place), point.lanes)
                for v in range(point.vectors):
                    at = [group, panel, outer, kh, kw, c, span(v * point.lanes, point.lanes)]
                    position = i * point.vectors + v
                    product_ = x * tirx.BufferLoad(self.frame.weight, at)
                    parts.append(self.accumulators.store(position, self.accumulators[position] + product_))
            return seq(*parts)

        unroll = max(1, UNROLL // (point.width * point.vectors))
        inner_kind = _unrolled(self.inner, unroll)
        kw_kind = _unrolled(conv.kernel[1], unroll // self.inner)
        return loop(
            per_group // self.inner,
            lambda outer: loop(
                conv.kernel[0],
                lambda kh: loop(
                    conv.kernel[1],
                    lambda kw: loop(self.inner, lambda c: step(outer, kh, kw, c), "c", inner_kind),
                    "kw", kw_kind),
                "kh"),
            "cb")  # fmt: skip

    def _stores(self, writer: Writer, n: Expr, group: Expr, panel: Expr, row: Expr, column: Expr) -> list[Stmt]:
        conv, point = self.conv, self.point
        per_group = conv.oc // conv.groups
        lanes = self.store_lanes
        stores: list[Stmt] = []
        for i in range(point.width):
            pixel = column + i
            h, w = (tirx.floordiv(pixel, conv.ow), tirx.floormod(pixel, conv.ow)) if conv.pointwise else (row, pixel)
            for start in range(0, point.panel, lanes):
                inside = panel * point.panel + start
                offset = i * point.panel + start
                stored = writer.store(
                    n, group * per_group + inside, h, w,
                    self.accumulators.reader(offset),
                )  # fmt: skip
                guarded = stored if per_group % point.panel == 0 else when(inside < per_group, stored)
                stores.append(seq(guarded))
        return stores

    @property
    def store_lanes(self) -> int:
        """Channels that are stored together: they lie in one block, one vector and one group."""
        per_group = self.conv.oc // self.conv.groups
        return gcd(self.point.lanes, self.frame.epilogue.block, per_group if self.conv.groups > 1 else 0)


def _unrolled(extent: int, limit: int) -> tirx.ForKind:
    """Short innermost loops are written out; long ones stay loops, whose counter costs nothing there."""
    return tirx.ForKind.UNROLLED if extent <= min(4, limit) or extent <= limit <= 8 else tirx.ForKind.SERIAL
