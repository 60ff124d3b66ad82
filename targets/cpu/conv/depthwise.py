"""Depthwise convolution of packed tensors: a vector of channels, a register tile of pixels in a row.

Where the width is known, nothing is copied: the tiles at the ends of a row are written out with the taps that fall on
padding left out, the tiles between them share one loop, and a kernel row outside the image is skipped by a branch
around all of it. Where the width is symbolic, padded rows are copied to scratch first.

Bytes are multiplied as floats, since no instruction multiplies bytes without adding neighbours: less their zero points,
which makes padding 0, and exactly, as sums of so few terms are below 2^24. So weights may have any zero points, which
each task takes off them once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import ceil, gcd

from tvm import tirx
from tvm.ir import Expr
from tvm.tirx.script.builder import ir as T

from dsc.lower.exprs import Dim, ceildiv, divides, minimum, product
from dsc.lower.nominal import batch, nominal
from dsc.targets.cpu.conv.elements import BFLOAT16, FLOAT32, itemsize
from dsc.targets.cpu.conv.epilogue import Writer
from dsc.targets.cpu.conv.problem import Frame, Region
from dsc.targets.cpu.conv.source import Rows, Source
from dsc.targets.cpu.machine import Cpu
from dsc.targets.cpu.tile import RegisterTile, as_elements
from dsc.targets.kernel import Implementation, Rearrange
from dsc.targets.tir.loops import Loops, spread, tile_widths, when

WIDTHS = (8, 7, 6, 5, 4)
"""Tile widths tried. Wider tiles were slower wherever a row has several: see `BURST`."""
WHOLE_ROW = 14
"""A row up to so wide may be one tile."""
LOOP_CYCLES = 3.0
"""Cycles of a tile that are not hidden behind arithmetic."""
REGISTERS_OF_FLOATS, REGISTERS_OF_BYTES = 2, 5
"""That a tile leaves for all but its sums: bytes are three of them on the way to a product."""
FLOAT_OPERATIONS = {FLOAT32: 0, BFLOAT16: 2, "int8": 3, "uint8": 3}
"""Vector operations that make floats of a vector: bytes are widened, converted, and their zero point taken off; bits of
bfloat16 are widened and shifted."""
BYTE_OPERATIONS = 12
"""Those that make bytes of a vector of sums: converted twice, scaled, rounded, cut, and narrowed in four steps."""
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


def implement(region: Region, point: DepthwisePoint, machine: Cpu) -> Implementation:
    """The function of one point and how its weights are packed."""
    conv = region.conv
    blocks, (kh, kw) = conv.c // conv.block, conv.kernel
    packing = Rearrange(pad=(0,) * 4, reshape=(blocks, conv.block, kh, kw), transpose=(0, 2, 3, 1), dtype="float32")
    frame = region.frame(packing)
    with frame.function() as made:
        for fits, width in tile_widths(conv.ow, point.width):
            with when(fits):
                _Nest(region, frame, replace(point, width=width), machine).write()
    return Implementation(made.get(), {region.position(region.weight): packing})


Weights = Callable[[Dim, int, Expr], Expr]
"""Those of a row and column of the kernel, of some channels of a block."""
Taps = Callable[[int, int], bool]
"""Whether pixel `i` of a tile has a tap in kernel column `kw` that is inside the image."""


@dataclass(frozen=True)
class _Row:
    """Where a row of tiles is."""

    n: Expr
    block: Expr
    first: Expr
    """The task's first row."""
    r: Expr
    """The row among those of the task."""
    source: Rows
    weights: Weights


class _Nest:
    """Writes the code of one point."""

    def __init__(self, region: Region, frame: Frame, point: DepthwisePoint, machine: Cpu) -> None:
        """Declares the view of the input in the current frame."""
        conv = region.conv
        self.conv, self.frame, self.point, self.loops = conv, frame, point, Loops()
        self.instruction = machine.multiply_add(point.lanes)
        self.exact = isinstance(conv.w, int)
        seen = replace(conv, pads=replace(conv.pads, top=0, left=0, bottom=0, right=0)) if self.exact else conv
        self.elements = region.elements("float32", frame)
        self.source = Source(seen, frame.x, point.rows, 1, self.elements)

    def write(self) -> None:
        """The whole convolution."""
        conv, point, loops = self.conv, self.point, self.loops
        shape = (conv.n, conv.c // conv.block, ceildiv(conv.oh, point.rows))
        with loops.each(product(shape), T.parallel if point.parallel else T.serial) as position:
            n, block, chunk = loops.unravel(position, shape)
            first = chunk * point.rows
            count = point.rows if divides(point.rows, conv.oh) else minimum(point.rows, conv.oh - first)
            source, weights = self.source.prepared(n, block, first, count), self._weights(block)
            with loops.each(count) as r:
                self._row(_Row(n, block, first, r, source, weights))

    def _weights(self, block: Expr) -> Weights:
        """Those of a block of channels, in scratch where a zero point is taken off them."""
        conv, zero, loops = self.conv, self.frame.weight_zero, self.loops
        packed = self.frame.weight
        if zero is None:
            return lambda kh, kw, lanes: packed[block, kh, kw, lanes]
        if product(zero.shape) == 1:
            origin = spread(zero[tuple(0 for _ in zero.shape)].astype(FLOAT32), conv.block)
        else:
            origin = as_elements(zero[loops.span(block * conv.block, conv.block)], FLOAT32)
        origin, whole = T.Bind(origin), loops.span(0, conv.block)
        scratch = T.alloc_buffer((*conv.kernel, conv.block), FLOAT32)
        with loops.each(conv.kernel[0]) as kh, loops.each(conv.kernel[1]) as kw:
            T.buffer_store(scratch, packed[block, kh, kw, whole] - origin, [kh, kw, whole])
        return lambda kh, kw, lanes: scratch[kh, kw, lanes]

    def _row(self, row: _Row) -> None:
        """All tiles of a row."""
        width, ow, loops = self.point.width, self.conv.ow, self.loops
        if not isinstance(ow, int):
            with loops.each(ceildiv(ow, width)) as t:
                self._tiles(row, minimum(t * width, ow - width), None)
            return
        inner = [start for start in _starts(ow, width) if self._taps(start) is None]
        for start in _starts(ow, width):
            if start not in inner:
                self._tiles(row, start, self._taps(start))
        if inner:
            with loops.each(len(inner)) as t:
                self._tiles(row, minimum(t * width + inner[0], inner[-1]), None)

    def _taps(self, start: int) -> Taps | None:
        """Which taps of the tile at `start` are inside the image; None if all are."""
        conv = self.conv
        assert isinstance(conv.w, int)
        width = conv.w

        def inside(i: int, kw: int) -> bool:
            return 0 <= (start + i) * conv.strides[1] + kw * conv.dilations[1] - conv.pads.left < width

        whole = all(inside(i, kw) for i in range(self.point.width) for kw in range(conv.kernel[1]))
        return None if whole else inside

    def _tiles(self, row: _Row, start: Dim, taps: Taps | None) -> None:
        """The tiles of all vectors of a block of channels."""
        with self.loops.each(self.conv.block // self.point.lanes) as v:
            self._tile(row, v * self.point.lanes, self.loops.bind(start), taps)

    def _tile(self, row: _Row, lane: Expr, column: Expr, taps: Taps | None) -> None:
        tile = RegisterTile(self.instruction, self.point.width, self.point.lanes, self.point.lanes)
        writer = Writer(self.frame.epilogue, gcd(self.point.lanes, self.frame.epilogue.block))
        tile.clear()
        if self.exact:
            for kh in range(self.conv.kernel[0]):
                self._kernel_row(tile, row, lane, column, kh, taps)
        else:
            # Indices of symbolic sizes cost TVM's passes much time: those rows are not written out.
            with self.loops.each(self.conv.kernel[0]) as kh:
                self._kernel_row(tile, row, lane, column, kh, taps)
        self._store(tile, writer, row, lane, column)

    def _kernel_row(self, tile: RegisterTile, row: _Row, lane: Expr, column: Expr, kh: Dim, taps: Taps | None) -> None:
        """The terms of one row of the kernel, where that is inside the image."""
        conv = self.conv
        columns = range(conv.kernel[1])
        terms = [(kw, i) for kw in columns for i in range(self.point.width) if taps is None or taps(i, kw)]
        if not terms:
            return
        line = (row.first + row.r) * conv.strides[0] + kh * conv.dilations[0] - conv.pads.top
        padded = self.exact and (conv.pads.top or conv.pads.bottom)
        with when(tirx.all(line >= 0, line < conv.h) if padded else None):
            for kw, i in terms:
                self._term(tile, row, lane, column + i, kh, kw, i)

    def _term(self, tile: RegisterTile, row: _Row, lane: Expr, pixel: Expr, kh: Dim, kw: int, i: int) -> None:
        """One vector multiplied into the sums of pixel `i` of the tile."""
        conv, lanes = self.conv, self.loops.span(lane, self.point.lanes)
        place, first_row = pixel * conv.strides[1] + kw * conv.dilations[1], row.first + row.r
        if isinstance(kh, int):
            x = self.source.above(row.n, row.block, lanes, first_row, kh, conv.pads.top, place - conv.pads.left)
        else:
            x = row.source.element(self.loops.const(0), lanes, row.r, kh, place)
        tile.multiply_add(i, 0, x, row.weights(kh, kw, lanes))

    def _store(self, tile: RegisterTile, writer: Writer, row: _Row, lane: Expr, column: Expr) -> None:
        """The epilogue of all pixels of a tile."""
        for i in range(self.point.width):
            for part in range(0, self.point.lanes, writer.lanes):
                channel = row.block * self.conv.block + lane + part

                def value(c: Expr, i: int = i, part: int = part, channel: Expr = channel) -> Expr:
                    return self.elements.corrected(tile.sums[i, part + c], channel + c)

                writer.store(row.n, channel, row.first + row.r, column + i, value)


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
        for lanes in (instruction.n for instruction in self.machine.multiply_adds("float32", "float32", "float32")):
            if conv.block % lanes:
                continue
            apart = REGISTERS_OF_BYTES if self.region.integer else REGISTERS_OF_FLOATS
            whole = [columns] if columns <= min(WHOLE_ROW, self.machine.vector_registers - apart) else []
            for width in dict.fromkeys([*whole, *(min(width, columns) for width in WIDTHS)]):
                yield DepthwisePoint(lanes, width, rows, False)
                for parts in {1, min(cores, rows), min(4 * cores, rows)}:
                    yield DepthwisePoint(lanes, width, ceil(rows / parts), True)

    def estimate(self, point: DepthwisePoint) -> float:
        """Seconds: arithmetic and loads of the tiles, or the traffic of the image, whichever is slower."""
        conv, machine = self.region.conv, self.machine
        n, rows, columns = batch((conv.n,)), nominal(conv.oh), nominal(conv.ow)
        blocks = conv.c // conv.block
        tasks = n * blocks * ceil(rows / point.rows)
        threads = min(machine.cores, tasks) if point.parallel else 1
        share = ceil(tasks / threads) / tasks
        tiles = n * rows * ceil(columns / point.width) * (conv.c // point.lanes)
        compute = share * tiles * self._tile(point) / machine.frequency
        size = self._bytes * n * conv.c * (rows * columns + nominal(conv.h) * nominal(conv.w))
        move = share * threads * size / machine.bandwidth(size, threads)
        bursts = BURST * max(0, point.width - 4) * move if size > threads * machine.l2_bytes else 0.0
        return max(compute, move) + bursts + (machine.launch_seconds if point.parallel else 0.0)

    @cached_property
    def _bytes(self) -> int:
        """Of an element of the input, and, as a rule, of the result."""
        return itemsize(self.region.element)

    def _tile(self, point: DepthwisePoint) -> float:
        """Cycles of one register tile; neighbouring tiles overlap, so that neither latency nor stores show."""
        conv, machine = self.region.conv, self.machine
        kh, kw = conv.kernel
        taps = kh * kw * point.width
        spread = ((point.width - 1) * conv.strides[1] + (kw - 1) * conv.dilations[1] + 1) * kh
        weights = kh * kw if kh * kw + point.width > machine.vector_registers - 3 else 0
        loads = (min(taps, spread) + weights) * max(1.0 / machine.pipes, 32 * point.lanes / machine.load_bits)
        arithmetic = taps / machine.multiply_add(point.lanes).rate
        operations = taps + FLOAT_OPERATIONS[self.region.element] * min(taps, spread)
        if self.region.integer:
            operations += BYTE_OPERATIONS * point.width
        arithmetic = max(arithmetic, operations / machine.pipes)
        return max(arithmetic, loads) + LOOP_CYCLES

    def build(self, point: DepthwisePoint) -> Implementation:
        """The code of `point`."""
        return implement(self.region, point, self.machine)
