"""Winograd convolution F(m x m, 3 x 3) of packed tensors, in one pass over cache-sized chunks of tiles.

Per task, a rectangle of tiles: its patches are transformed to scratch, channel block by channel block, then for each
panel of output channels one small matrix product per position of the patch runs in registers, and the inverse
transform and the epilogue store the tiles. The rectangles of the last row and column are moved back inside the image,
so that all extents are constants; only pixels of ragged tiles are guarded.
"""

from __future__ import annotations

from dataclasses import dataclass

from tvm import tirx
from tvm.ir import Expr

from dsc.targets.cpu.conv.emit import (
    Dim,
    Stmt,
    Vectors,
    bind,
    broadcast,
    coordinates,
    index,
    least,
    loop,
    parallel,
    product,
    seq,
    span,
    when,
    zeros,
)
from dsc.targets.cpu.conv.epilogue import Writer
from dsc.targets.cpu.conv.problem import Convolution, Frame, Region
from dsc.targets.cpu.conv.winograd_transform import (
    PackWinograd,
    Transform,
    forward,
    inverse,
    transform,
)
from dsc.targets.kernel import Implementation


@dataclass(frozen=True)
class WinogradPoint:
    """How a Winograd convolution is tiled."""

    outputs: int
    """m: rows and columns of a tile of the result."""
    lanes: int
    """Output channels in a vector."""
    vectors: int
    """Vectors in a panel."""
    width: int
    """Tiles in a register tile of the matrix products."""
    rows: int
    """Rows of tiles in a task."""
    columns: int
    """Tiles of each of those rows in a task."""
    panels: int
    """Panels in a task."""

    @property
    def panel(self) -> int:
        """Output channels in a panel."""
        return self.lanes * self.vectors

    @property
    def tiles(self) -> int:
        """Tiles in a task."""
        return self.rows * self.columns


def implement(region: Region, point: WinogradPoint, lanes: int) -> Implementation:
    """The function of one point, with input vectors of `lanes` channels, and how its weights are packed."""
    conv = region.conv
    packing = PackWinograd(point.outputs, point.panel, conv.block)
    frame = region.frame(packing.shape(conv.oc, conv.c))
    body = _Nest(conv, frame, point, min(lanes, conv.block)).tasks()
    return Implementation(frame.function(body), {region.position(region.weight): packing})


def grid(conv: Convolution, outputs: int) -> tuple[int, int]:
    """Rows and columns of tiles that cover the result."""
    assert isinstance(conv.oh, int)
    assert isinstance(conv.ow, int)
    return -(-conv.oh // outputs), -(-conv.ow // outputs)


class _Nest:
    """Writes the code of one point."""

    def __init__(self, conv: Convolution, frame: Frame, point: WinogradPoint, lanes: int) -> None:
        self.conv, self.frame, self.point, self.lanes = conv, frame, point, lanes
        self.transform: Transform = transform(point.outputs)
        patch, block = self.transform.patch, conv.block
        self.width = point.columns * point.outputs + patch - point.outputs
        self.half = tirx.decl_buffer((patch, self.width, self.lanes), "float32", "half")
        tall = (point.outputs, point.columns * patch, self.store_lanes)
        self.tall = tirx.decl_buffer(tall, "float32", "tall")
        # Odd strides: positions that are powers of two apart would share one set of the L1 cache.
        lines = (conv.c // block * point.tiles) | 1
        self.patches = tirx.decl_buffer((patch * patch, lines, block), "float32", "patches")
        self.products = tirx.decl_buffer((patch * patch, point.tiles | 1, point.panel), "float32", "products")

    def tasks(self) -> Stmt:
        """The whole convolution."""
        conv, point = self.conv, self.point
        rows, columns = grid(conv, point.outputs)
        panels = -(-conv.oc // point.panel)
        shape: tuple[Dim, ...] = (
            conv.n, -(-panels // point.panels), -(-rows // point.rows), -(-columns // point.columns),
        )  # fmt: skip

        def task(n: Expr, part: Expr, down: Expr, right: Expr) -> Stmt:
            row = least(down * point.rows, rows - point.rows)
            column = least(right * point.columns, columns - point.columns)
            first = part * point.panels
            here = point.panels if panels % point.panels == 0 else least(point.panels, panels - first)
            return seq(
                *[tirx.AllocBuffer(buffer) for buffer in (self.half, self.patches, self.products, self.tall)],
                loop(conv.c // conv.block, lambda cb: self._patches(n, cb, row, column), "cb"),
                loop(here, lambda p: self._panel(n, first + p, row, column), "panel"),
            )

        return parallel(product(*shape), lambda position: coordinates(position, shape, task))

    def _patches(self, n: Expr, cb: Expr, row: Dim, column: Dim) -> Stmt:
        """Transform the patches of one channel block: down the columns of the image, then along the rows.

        Neighbouring patches share columns, so the first half is done once for each column. Both are loops of few
        instructions: written out as a whole, a patch is more than the registers hold.
        """
        steps = (self.conv.block // self.lanes, self.point.rows)

        def part(v: Expr, down: Expr) -> Stmt:
            top = (row + down) * self.point.outputs - self.conv.pads.top
            inside = tirx.all(top >= 0, top + self.transform.patch <= self.conv.h)
            return seq(
                when(inside, self._down(n, cb, v, top, column, True), self._down(n, cb, v, top, column, False)),
                self._along(cb, v, down),
            )

        return loop(steps[0] * steps[1], lambda position: coordinates(position, steps, part), "part")

    def _down(self, n: Expr, cb: Expr, v: Expr, top: Expr, column: Dim, whole: bool) -> Stmt:
        """Columns of the image under one row of tiles; `whole` if all their rows are inside the image."""
        conv, lanes, patch = self.conv, self.lanes, self.transform.patch
        left = column * self.point.outputs - conv.pads.left

        def put(w: Expr, i: int, value: Expr) -> Stmt:
            return tirx.BufferStore(self.half, value, [index(i), w, span(0, lanes)])

        def load(w: Expr, i: int) -> Expr:
            line = top + i if whole else tirx.max(0, tirx.min(top + i, conv.h - 1))
            value = tirx.BufferLoad(self.frame.x, [n, cb, line, left + w, span(v * lanes, lanes)])
            return value if whole else tirx.Select(tirx.all(top + i >= 0, top + i < conv.h), value, zeros(lanes))

        def transformed(w: Expr) -> Stmt:
            inputs = [load(w, i) for i in range(patch)]
            return seq(*forward(self.transform.data, inputs, lambda i, value: put(w, i, value), lanes))

        def blank(w: Expr) -> Stmt:
            return seq(*[put(w, i, zeros(lanes)) for i in range(patch)])

        def edge(place: Dim) -> Expr:
            return tirx.max(0, tirx.min(place, self.width))

        start, end = edge(0 - left), edge(conv.w - left)
        return seq(
            loop(start, blank, "w"),
            loop(end - start, lambda w: transformed(start + w), "w"),
            loop(self.width - end, lambda w: blank(end + w), "w"),
        )

    def _along(self, cb: Expr, v: Expr, down: Expr) -> Stmt:
        """The second half for one row of tiles: along each of its transformed rows."""
        lanes, patch, columns = self.lanes, self.transform.patch, self.point.columns

        def tile(i: Expr, right: Expr) -> Stmt:
            def put(j: int, value: Expr) -> Stmt:
                line = cb * self.point.tiles + down * columns + right
                return tirx.BufferStore(self.patches, value, [i * patch + j, line, span(v * lanes, lanes)])

            place = right * self.point.outputs
            inputs = [tirx.BufferLoad(self.half, [i, place + j, span(0, lanes)]) for j in range(patch)]
            return seq(*forward(self.transform.data, inputs, put, lanes))

        return loop(patch, lambda i: loop(columns, lambda right: tile(i, right), "right"), "i")

    def _panel(self, n: Expr, panel: Expr, row: Dim, column: Dim) -> Stmt:
        """The products of one panel, and its part of the result."""
        point = self.point
        positions = self.transform.patch**2
        runs = -(-point.tiles // point.width)

        def run(position: Expr, r: Expr) -> Stmt:
            start = least(r * point.width, point.tiles - point.width)
            return bind("start", start, lambda first: self._product(panel, position, first))

        return seq(
            loop(positions, lambda p: loop(runs, lambda r: run(p, r), "run"), "position"),
            self._inverse(n, panel, row, column),
        )

    def _product(self, panel: Expr, position: Expr, start: Expr) -> Stmt:
        """The register tile: `width` tiles by the panel, summed over the input channels."""
        point, conv = self.point, self.conv
        sums = Vectors("acc", point.width * point.vectors, point.lanes)

        def step(cb: Expr, c: Expr) -> Stmt:
            parts = []
            for i in range(point.width):
                x = broadcast(
                    tirx.BufferLoad(self.patches, [position, cb * self.point.tiles + start + i, c]),
                    point.lanes,
                )
                for v in range(point.vectors):
                    place = [panel, position, cb, c, span(v * point.lanes, point.lanes)]
                    k = i * point.vectors + v
                    parts.append(sums.store(k, sums[k] + x * tirx.BufferLoad(self.frame.weight, place)))
            return seq(*parts)

        def put(k: int) -> Stmt:
            i, v = divmod(k, point.vectors)
            place = [position, start + i, span(v * point.lanes, point.lanes)]
            return tirx.BufferStore(self.products, sums[k], place)

        return seq(
            sums.allocate(),
            sums.clear(),
            loop(conv.c // conv.block, lambda cb: loop(conv.block, lambda c: step(cb, c), "c"), "cb"),
            *[put(k) for k in range(sums.count)],
        )

    def _inverse(self, n: Expr, panel: Expr, row: Dim, column: Dim) -> Stmt:
        """The part of the result that one panel makes: as `_patches`, down the columns and along the rows."""
        point, lanes = self.point, self.store_lanes
        steps = (point.panel // lanes, point.rows)

        def part(v: Expr, down: Expr) -> Stmt:
            channel = panel * point.panel + v * lanes
            stored = seq(
                self._inverse_down(v, down),
                self._inverse_along(n, channel, (row + down) * point.outputs, column),
            )
            return stored if self.conv.oc % point.panel == 0 else seq(when(channel < self.conv.oc, stored))

        return loop(steps[0] * steps[1], lambda position: coordinates(position, steps, part), "part")

    def _inverse_down(self, v: Expr, down: Expr) -> Stmt:
        lanes, patch, columns = self.store_lanes, self.transform.patch, self.point.columns

        def tile(j: Expr, right: Expr) -> Stmt:
            def put(i: int, value: Expr) -> Stmt:
                return tirx.BufferStore(self.tall, value, [index(i), right * patch + j, span(0, lanes)])

            place = [down * columns + right, span(v * lanes, lanes)]
            inputs = [tirx.BufferLoad(self.products, [j + i * patch, *place]) for i in range(patch)]
            return seq(*inverse(self.transform.inverse, inputs, put, lanes))

        return loop(patch, lambda j: loop(columns, lambda right: tile(j, right), "right"), "j")

    def _inverse_along(self, n: Expr, channel: Expr, top: Expr, column: Dim) -> Stmt:
        """The rest of the inverse transform for a row of tiles, and the epilogue of its pixels."""
        lanes, patch, outputs, conv = self.store_lanes, self.transform.patch, self.point.outputs, self.conv

        def tile(i: Expr, right: Expr) -> Stmt:
            result = Vectors("result", outputs, lanes)
            writer = Writer(self.frame.epilogue, lanes)
            inputs = [tirx.BufferLoad(self.tall, [i, right * patch + j, span(0, lanes)]) for j in range(patch)]
            parts = [result.allocate(), *writer.allocate()]
            parts += inverse(self.transform.inverse, inputs, result.store, lanes)
            for j in range(outputs):
                w = (column + right) * outputs + j
                stored = writer.store(
                    n, channel, top + i, w,
                    result.reader(j * lanes),
                )  # fmt: skip
                parts.append(stored if conv.ow % outputs == 0 else seq(when(w < conv.ow, stored)))
            return seq(*parts)

        def line(i: Expr) -> Stmt:
            tiles = loop(self.point.columns, lambda right: tile(i, right), "right")
            return tiles if conv.oh % outputs == 0 else seq(when(top + i < conv.oh, tiles))

        return loop(outputs, line, "i")

    @property
    def store_lanes(self) -> int:
        """Channels that are transformed and stored together."""
        return min(self.point.lanes, self.frame.epilogue.block)
