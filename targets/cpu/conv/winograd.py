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
    least,
    loop,
    parallel,
    product,
    seq,
    span,
    unravel,
    when,
    zeros,
)
from dsc.targets.cpu.conv.problem import Convolution, Frame, Region
from dsc.targets.cpu.conv.winograd_transform import PackWinograd, Transform, apply, transform
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
        overlap = patch - point.outputs
        self.window = (point.rows * point.outputs + overlap, point.columns * point.outputs + overlap)
        self.image = tirx.decl_buffer((*self.window, block), "float32", "image")
        shape = (patch * patch, conv.c // block, point.tiles, block)
        self.patches = tirx.decl_buffer(shape, "float32", "patches")
        self.products = tirx.decl_buffer((patch * patch, point.tiles, point.panel), "float32", "products")

    def tasks(self) -> Stmt:
        """The whole convolution."""
        conv, point = self.conv, self.point
        rows, columns = grid(conv, point.outputs)
        panels = -(-conv.oc // point.panel)
        shape: tuple[Dim, ...] = (
            conv.n, -(-panels // point.panels), -(-rows // point.rows), -(-columns // point.columns),
        )  # fmt: skip

        def task(position: Expr) -> Stmt:
            n, part, down, right = unravel(position, shape)
            row = least(down * point.rows, rows - point.rows)
            column = least(right * point.columns, columns - point.columns)
            first = part * point.panels
            here = point.panels if panels % point.panels == 0 else least(point.panels, panels - first)
            return seq(
                *[tirx.AllocBuffer(buffer) for buffer in (self.image, self.patches, self.products)],
                loop(conv.c // conv.block, lambda cb: self._patches(n, cb, row, column), "cb"),
                loop(here, lambda p: self._panel(n, first + p, row, column), "panel"),
            )

        return parallel(product(*shape), task)

    def _patches(self, n: Expr, cb: Expr, row: Dim, column: Dim) -> Stmt:
        """Transform the patches of one channel block, by way of a copy of the window with its padding."""
        lanes = self.lanes
        columns = self.point.columns

        def tile(t: Expr, v: Expr) -> Stmt:
            down, right = unravel(t, (self.point.rows, columns))
            outputs, patch = self.point.outputs, self.transform.patch

            def load(i: int, j: int) -> Expr:
                place = [down * outputs + i, right * outputs + j, span(v * lanes, lanes)]
                return tirx.BufferLoad(self.image, place)

            half = Vectors("half", patch * patch, lanes)
            parts: list[Stmt] = [half.allocate()]
            for j in range(patch):
                column_ = [load(i, j) for i in range(patch)]
                parts += apply(self.transform.data, column_, lambda i, x, j=j: half.store(i * patch + j, x), lanes)
            for i in range(patch):
                row_ = [half[i * patch + j] for j in range(patch)]
                parts += apply(self.transform.data, row_, lambda j, x, i=i: self._put(i * patch + j, cb, t, v, x), lanes)
            return seq(*parts)

        tiles = loop(
            self.point.tiles, lambda t: loop(self.conv.block // lanes, lambda v: tile(t, v), "vector"), "tile"
        )
        return seq(self._window(n, cb, row, column), tiles)

    def _put(self, position: int, cb: Expr, t: Expr, v: Expr, value: Expr) -> Stmt:
        place = [tirx.IntImm("int32", position), cb, t, span(v * self.lanes, self.lanes)]
        return tirx.BufferStore(self.patches, value, place)

    def _window(self, n: Expr, cb: Expr, row: Dim, column: Dim) -> Stmt:
        """Copy the window of the input under the task's tiles; zeros where it leaves the image."""
        conv, outputs = self.conv, self.point.outputs
        top, left = row * outputs - conv.pads.top, column * outputs - conv.pads.left
        height, width = self.window

        def clamped(edge: Dim) -> Expr:
            return tirx.max(0, tirx.min(edge, width))

        def line(r: Expr) -> Stmt:
            def put(w: Expr, value: Expr, c: Expr) -> Stmt:
                return tirx.BufferStore(self.image, value, [r, w, span(c * self.lanes, self.lanes)])

            def channels(body: object) -> Stmt:
                return loop(conv.block // self.lanes, body, "c")  # type: ignore[arg-type]

            def zero(w: Expr) -> Stmt:
                return channels(lambda c: put(w, zeros(self.lanes), c))

            def copy(w: Expr) -> Stmt:
                def vector(c: Expr) -> Stmt:
                    place = [n, cb, top + r, left + w, span(c * self.lanes, self.lanes)]
                    return put(w, tirx.BufferLoad(self.frame.x, place), c)

                return channels(vector)

            start, end = clamped(0 - left), clamped(conv.w - left)
            inside = seq(
                loop(start, zero, "w"),
                loop(end - start, lambda w: copy(start + w), "w"),
                loop(width - end, lambda w: zero(end + w), "w"),
            )
            return seq(when(tirx.all(top + r >= 0, top + r < conv.h), inside, loop(width, zero, "w")))

        return loop(height, line, "r")

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
            loop(point.tiles, lambda t: self._inverse(n, panel, row, column, t), "tile"),
        )

    def _product(self, panel: Expr, position: Expr, start: Expr) -> Stmt:
        """The register tile: `width` tiles by the panel, summed over the input channels."""
        point, conv = self.point, self.conv
        sums = Vectors("acc", point.width * point.vectors, point.lanes)

        def step(cb: Expr, c: Expr) -> Stmt:
            parts = []
            for i in range(point.width):
                x = broadcast(tirx.BufferLoad(self.patches, [position, cb, start + i, c]), point.lanes)
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

    def _inverse(self, n: Expr, panel: Expr, row: Dim, column: Dim, t: Expr) -> Stmt:
        """One tile of the result: inverse transform, then the epilogue of each pixel."""
        point = self.point
        down, right = unravel(t, (point.rows, point.columns))
        lanes = min(point.lanes, self.frame.epilogue.block)

        def vectors(v: Expr) -> Stmt:
            channel = panel * point.panel + v * lanes
            stored = self._pixels(n, channel, (row + down) * point.outputs, (column + right) * point.outputs, t, v, lanes)
            return stored if self.conv.oc % point.panel == 0 else seq(when(channel < self.conv.oc, stored))

        return loop(point.panel // lanes, vectors, "v")

    def _pixels(self, n: Expr, channel: Expr, h: Expr, w: Expr, t: Expr, v: Expr, lanes: int) -> Stmt:
        conv, outputs, patch = self.conv, self.point.outputs, self.transform.patch
        half, result = Vectors("half", outputs * patch, lanes), Vectors("result", outputs * outputs, lanes)
        parts: list[Stmt] = [half.allocate(), result.allocate()]
        for j in range(patch):
            column = [
                tirx.BufferLoad(self.products, [tirx.IntImm("int32", i * patch + j), t, span(v * lanes, lanes)])
                for i in range(patch)
            ]
            parts += apply(self.transform.inverse, column, lambda i, x, j=j: half.store(i * patch + j, x), lanes)
        for i in range(outputs):
            row = [half[i * patch + j] for j in range(patch)]
            parts += apply(self.transform.inverse, row, lambda j, x, i=i: result.store(i * outputs + j, x), lanes)
        for i in range(outputs):
            for j in range(outputs):
                offset = (i * outputs + j) * lanes
                stored = self.frame.epilogue.store(
                    n, channel, lanes, h + i, w + j,
                    lambda c, offset=offset: tirx.BufferLoad(result.buffer, [offset + c]),
                )  # fmt: skip
                if conv.ow % outputs:
                    stored = seq(when(w + j < conv.ow, stored))
                if conv.oh % outputs:
                    stored = seq(when(h + i < conv.oh, stored))
                parts.append(stored)
        return seq(*parts)
