"""Depthwise convolution of packed tensors: a vector of channels, a register tile of pixels in a row.

Where the width is known, nothing is copied: the tiles at the ends of a row are written out with the taps that fall on
padding left out, the tiles between them share one loop, and a kernel row outside the image is skipped by a branch
around all of it. Where the width is symbolic, padded rows are copied to scratch first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import ceil, gcd

from tvm import tirx
from tvm.ir import Expr

from dsc.targets.cpu.conv.cost import vector_lanes
from dsc.targets.cpu.conv.emit import (
    Dim,
    Stmt,
    Vectors,
    bind,
    ceildiv,
    coordinates,
    divides,
    in_tiles,
    index,
    least,
    loop,
    parallel,
    product,
    seq,
    span,
    when,
)
from dsc.targets.cpu.conv.epilogue import Writer
from dsc.targets.cpu.conv.problem import Convolution, Frame, Region, nominal
from dsc.targets.cpu.conv.source import Source
from dsc.targets.cpu.machine import Cpu
from dsc.targets.kernel import Implementation, Rearrange

WIDTHS = (8, 7, 6, 5, 4)
"""Tile widths tried. Wider tiles were slower wherever a row has several: see `BURST`."""
WHOLE_ROW = 14
"""A row up to so wide may be one tile."""
LOOP_CYCLES = 3.0
"""Cycles of a tile that are not hidden behind arithmetic."""
BURST = 0.12
"""Share of the time to fetch an image from beyond L2 that shows for each pixel a tile has beyond four: it asks for
its new row at once, and out-of-order execution reaches fewer tiles ahead. Measured on Zen 4, tiles of 4 to 16."""


@dataclass(frozen=True)
class DepthwisePoint:
    """How a depthwise convolution is tiled."""

    lanes: int
    """Channels in a vector."""
    width: int
    """Pixels in a tile."""
    rows: int
    """Rows of the result in a task."""
    parallel: bool
    """Whether the tasks are shared between threads."""


def implement(region: Region, point: DepthwisePoint) -> Implementation:
    """The function of one point and how its weights are packed."""
    conv = region.conv
    blocks, (kh, kw) = conv.c // conv.block, conv.kernel
    frame = region.frame((blocks, kh, kw, conv.block))
    body = in_tiles(conv.ow, point.width, lambda width: _Nest(conv, frame, replace(point, width=width)).tasks())
    packing = Rearrange(pad=(0,) * 4, reshape=(blocks, conv.block, kh, kw), transpose=(0, 2, 3, 1))
    return Implementation(frame.function(body), {region.position(region.weight): packing})


Taps = Callable[[int, int], bool]
"""Whether pixel `i` of a tile has a tap in kernel column `kw` that is inside the image."""


class _Nest:
    """Writes the code of one point."""

    def __init__(self, conv: Convolution, frame: Frame, point: DepthwisePoint) -> None:
        self.conv, self.frame, self.point = conv, frame, point
        self.exact = isinstance(conv.w, int)
        seen = replace(conv, pads=replace(conv.pads, top=0, left=0, bottom=0, right=0)) if self.exact else conv
        self.source = Source(seen, frame.x, point.rows, 1)

    def tasks(self) -> Stmt:
        """The whole convolution."""
        conv, point = self.conv, self.point
        shape = (conv.n, conv.c // conv.block, ceildiv(conv.oh, point.rows))

        def task(n: Expr, block: Expr, chunk: Expr) -> Stmt:
            first = chunk * point.rows
            count = point.rows if divides(point.rows, conv.oh) else least(point.rows, conv.oh - first)
            rows = loop(count, lambda r: self._row(n, block, first, r), "row")
            return seq(self.source.prepare(n, block, first, count), rows)

        tasks = parallel if point.parallel else loop
        return seq(self.source.declare(), tasks(product(*shape), lambda position: coordinates(position, shape, task)))

    def _row(self, n: Expr, block: Expr, first: Expr, r: Expr) -> Stmt:
        """All tiles of a row."""

        def tile(start: Dim, taps: Taps | None) -> Stmt:
            return loop(
                self.conv.block // self.point.lanes,
                lambda v: self._tile(n, block, v * self.point.lanes, first, r, start, taps),
                "vector",
            )

        width, ow = self.point.width, self.conv.ow
        if not isinstance(ow, int):
            return loop(ceildiv(ow, width), lambda t: tile(least(t * width, ow - width), None), "tile")
        inner = [start for start in _starts(ow, width) if self._taps(start) is None]
        parts: list[Stmt] = [tile(start, self._taps(start)) for start in _starts(ow, width) if start not in inner]
        if inner:
            last = inner[-1]
            parts.append(loop(len(inner), lambda t: tile(least(t * width + inner[0], last), None), "tile"))
        return seq(*parts)

    def _taps(self, start: int) -> Taps | None:
        """Which taps of the tile at `start` are inside the image; None if all are."""
        conv = self.conv
        assert isinstance(conv.w, int)
        width = conv.w

        def inside(i: int, kw: int) -> bool:
            return 0 <= (start + i) * conv.strides[1] + kw * conv.dilations[1] - conv.pads.left < width

        whole = all(inside(i, kw) for i in range(self.point.width) for kw in range(conv.kernel[1]))
        return None if whole else inside

    def _tile(self, n: Expr, block: Expr, lane: Expr, first: Expr, r: Expr, start: Dim, taps: Taps | None) -> Stmt:
        conv = self.conv
        sums = Vectors("acc", self.point.width, self.point.lanes)
        writer = Writer(self.frame.epilogue, gcd(self.point.lanes, self.frame.epilogue.block))

        def tile(column: Expr) -> Stmt:
            def kernel_row(kh: int | Expr) -> Stmt | None:
                terms = [
                    self._term(sums, n, block, lane, first, r, column, kh, kw, i)
                    for kw in range(conv.kernel[1])
                    for i in range(self.point.width)
                    if taps is None or taps(i, kw)
                ]
                line = (first + r) * conv.strides[0] + kh * conv.dilations[0] - conv.pads.top
                if not terms or not self.exact or not (conv.pads.top or conv.pads.bottom):
                    return seq(*terms) if terms else None
                return when(tirx.all(line >= 0, line < conv.h), seq(*terms))

            # Indices of symbolic sizes cost TVM's passes much time: those rows are not written out.
            exact = [kernel_row(kh) for kh in range(conv.kernel[0])] if self.exact else []
            return seq(
                sums.allocate(),
                *writer.allocate(),
                sums.clear(),
                *(exact or [loop(conv.kernel[0], lambda kh: seq(kernel_row(kh)), "kh")]),
                *self._stores(writer, sums, n, block, lane, first + r, column),
            )

        return bind("column", start, tile)

    def _term(
        self,
        sums: Vectors,
        n: Expr,
        block: Expr,
        lane: Expr,
        first: Expr,
        r: Expr,
        column: Expr,
        kh: int | Expr,
        kw: int,
        i: int,
    ) -> Stmt:
        """One vector multiplied into accumulator `i`."""
        conv, lanes = self.conv, self.point.lanes
        place = (column + i) * conv.strides[1] + kw * conv.dilations[1]
        down = index(kh)
        if self.exact:
            place = place - conv.pads.left
            x = self.source.above(n, block, span(lane, lanes), first + r, kh, conv.pads.top, place)
        else:
            x = self.source.scalar(n, block, index(0), span(lane, lanes), first, r, down, place)
        weight = tirx.BufferLoad(self.frame.weight, [block, down, index(kw), span(lane, lanes)])
        return sums.store(i, sums[i] + x * weight)

    def _stores(
        self, writer: Writer, sums: Vectors, n: Expr, block: Expr, lane: Expr, row: Expr, column: Expr
    ) -> Iterator[Stmt]:
        lanes = writer.lanes
        for i in range(self.point.width):
            for part in range(0, self.point.lanes, lanes):
                offset = i * self.point.lanes + part
                yield writer.store(
                    n,
                    block * self.conv.block + lane + part,
                    row,
                    column + i,
                    sums.reader(offset),
                )


def _starts(columns: int, width: int) -> list[int]:
    """Where the tiles of a row begin; the last one is moved back to end with the row."""
    return [min(start, columns - width) for start in range(0, columns, width)]


@dataclass(frozen=True)
class DepthwiseSpace:
    """All tilings worth trying of one depthwise convolution."""

    region: Region
    machine: Cpu

    def points(self) -> Sequence[DepthwisePoint]:
        """Every width that fits, with the work shared in a few ways."""
        return list(self._points())

    def _points(self) -> Iterator[DepthwisePoint]:
        conv, cores = self.region.conv, self.machine.cores
        rows, columns = nominal(conv.oh), nominal(conv.ow)
        for lanes in vector_lanes(self.machine):
            if conv.block % lanes:
                continue
            whole = [columns] if columns <= min(WHOLE_ROW, self.machine.vector_registers - 2) else []
            for width in dict.fromkeys([*whole, *(min(width, columns) for width in WIDTHS)]):
                yield DepthwisePoint(lanes, width, rows, False)
                for parts in {1, min(cores, rows), min(4 * cores, rows)}:
                    yield DepthwisePoint(lanes, width, ceil(rows / parts), True)

    def estimate(self, point: DepthwisePoint) -> float:
        """Seconds: arithmetic and loads of the tiles, or the traffic of the image, whichever is slower."""
        conv, machine = self.region.conv, self.machine
        n, rows, columns = nominal(conv.n, 1), nominal(conv.oh), nominal(conv.ow)
        blocks = conv.c // conv.block
        tasks = n * blocks * ceil(rows / point.rows)
        threads = min(machine.cores, tasks) if point.parallel else 1
        share = ceil(tasks / threads) / tasks
        tiles = n * rows * ceil(columns / point.width) * (conv.c // point.lanes)
        compute = share * tiles * self._tile(point) / machine.frequency
        size = 4.0 * n * conv.c * (rows * columns + nominal(conv.h) * nominal(conv.w))
        move = share * threads * size / machine.bandwidth(size, threads)
        bursts = BURST * max(0, point.width - 4) * move if size > threads * machine.l2_bytes else 0.0
        return max(compute, move) + bursts + (machine.launch_seconds if point.parallel else 0.0)

    def _tile(self, point: DepthwisePoint) -> float:
        """Cycles of one register tile; neighbouring tiles overlap, so that neither latency nor stores show."""
        conv, machine = self.region.conv, self.machine
        kh, kw = conv.kernel
        taps = kh * kw * point.width
        spread = ((point.width - 1) * conv.strides[1] + (kw - 1) * conv.dilations[1] + 1) * kh
        weights = kh * kw if kh * kw + point.width > machine.vector_registers - 3 else 0
        loads = (min(taps, spread) + weights) * max(1.0 / machine.pipes, 32 * point.lanes / machine.load_bits)
        return max(taps / machine.multiply_add(point.lanes).rate, loads) + LOOP_CYCLES

    def build(self, point: DepthwisePoint) -> Implementation:
        """The code of `point`."""
        return implement(self.region, point)
