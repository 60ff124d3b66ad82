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
from tvm.tirx.script.builder import ir as T

from dsc.lower.exprs import ceildiv, minimum, product
from dsc.targets.cpu.conv.cost import together
from dsc.targets.cpu.conv.elements import FLOAT32, Elements, Floats
from dsc.targets.cpu.conv.epilogue import Writer
from dsc.targets.cpu.conv.problem import Convolution, Frame, Region
from dsc.targets.cpu.conv.winograd_transform import PackWinograd, forward, inverse, transform
from dsc.targets.cpu.machine import Cpu
from dsc.targets.cpu.tile import RegisterTile
from dsc.targets.kernel import Implementation
from dsc.targets.machine import MultiplyAdd
from dsc.targets.tir.loops import Loops, Vectors, when, zeros


@dataclass(frozen=True)
class WinogradPoint:
    """How a Winograd convolution is tiled."""

    factor: str
    """The type as which transformed patches and kernels are multiplied."""
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


def implement(region: Region, point: WinogradPoint, machine: Cpu) -> Implementation:
    """The function of one point, and how its weights are packed."""
    conv = region.conv
    packing = PackWinograd(point.outputs, point.panel, conv.block, instruction_of(point, machine).k, point.factor)
    frame = region.frame(packing)
    with frame.function() as made:
        _write(conv, frame, region.elements(FLOAT32, frame), point, machine)
    return Implementation(made.get(), {region.position(region.weight): packing})


def instruction_of(point: WinogradPoint, machine: Cpu) -> MultiplyAdd:
    """The one that multiplies."""
    return machine.multiply_add(point.lanes, point.factor, point.factor, FLOAT32)


def grid(conv: Convolution, outputs: int) -> tuple[int, int]:
    """Rows and columns of tiles that cover the result."""
    assert isinstance(conv.oh, int)
    assert isinstance(conv.ow, int)
    return ceildiv(conv.oh, outputs), ceildiv(conv.ow, outputs)


def _write(conv: Convolution, frame: Frame, elements: Elements, point: WinogradPoint, machine: Cpu) -> None:
    """The whole convolution."""
    loops, (rows, columns) = Loops(), grid(conv, point.outputs)
    panels = ceildiv(conv.oc, point.panel)
    shape = (conv.n, ceildiv(panels, point.panels), ceildiv(rows, point.rows), ceildiv(columns, point.columns))
    with loops.each(product(shape), T.parallel) as position:
        n, part, down, right = loops.unravel(position, shape)
        row = loops.const(minimum(down * point.rows, rows - point.rows))
        column = loops.const(minimum(right * point.columns, columns - point.columns))
        first = part * point.panels
        here = point.panels if panels % point.panels == 0 else minimum(point.panels, panels - first)
        task = _Task(conv, frame, elements, point, machine, n, row, column)
        with loops.each(conv.c // conv.block) as cb:
            task.patches(cb)
        with loops.each(here) as panel:
            task.panel(first + panel)


class _Task:
    """Writes one task: a rectangle of tiles, whose first one is at `row` and `column` of the grid."""

    def __init__(
        self, conv: Convolution, frame: Frame, elements: Elements, point: WinogradPoint, machine: Cpu, n: Expr,
        row: Expr, column: Expr,
    ) -> None:  # fmt: skip
        """Allocates the scratch in the current frame."""
        self.conv, self.frame, self.point, self.loops = conv, frame, point, Loops()
        self.elements, self.n, self.row, self.column = elements, n, row, column
        self.instruction, self.transform = instruction_of(point, machine), transform(point.outputs)
        self.transformed = Floats(FLOAT32, point.factor)
        """How transformed patches are multiplied."""
        self.depth = together(machine, self.instruction, conv.block)
        self.lanes = min(machine.lanes(), conv.block)
        """Input channels that are transformed together."""
        self.store_lanes = min(point.lanes, frame.epilogue.block)
        """Channels of the result that are transformed and stored together."""
        patch = self.transform.patch
        self.width = point.columns * point.outputs + patch - point.outputs
        self.half = T.alloc_buffer((patch, self.width, self.lanes), "float32")
        # Odd strides: positions that are powers of two apart would share one set of the L1 cache.
        lines = (conv.c // conv.block * point.tiles) | 1
        self.positions = T.alloc_buffer((patch * patch, lines, conv.block), self.transformed.multiplied)
        self.products = T.alloc_buffer((patch * patch, point.tiles | 1, point.panel), "float32")
        self.tall = T.alloc_buffer((point.outputs, point.columns * patch, self.store_lanes), "float32")

    def patches(self, cb: Expr) -> None:
        """Transform the patches of one channel block: down the columns of the image, then along the rows.

        Neighbouring patches share columns, so the first half is done once for each column. Both are loops of few
        instructions: written out as a whole, a patch is more than the registers hold.
        """
        steps = (self.conv.block // self.lanes, self.point.rows)
        with self.loops.each(steps[0] * steps[1]) as position:
            v, down = self.loops.unravel(position, steps)
            top = (self.row + down) * self.point.outputs - self.conv.pads.top
            with T.If(tirx.all(top >= 0, top + self.transform.patch <= self.conv.h)):
                with T.Then():
                    self._down(cb, v, top, whole=True)
                with T.Else():
                    self._down(cb, v, top, whole=False)
            self._along(cb, v, down)

    def _down(self, cb: Expr, v: Expr, top: Expr, whole: bool) -> None:
        """Columns of the image under one row of tiles; `whole` if all their rows are inside the image."""
        left = self.column * self.point.outputs - self.conv.pads.left
        start, end = self._edge(0 - left), self._edge(self.conv.w - left)
        with self.loops.each(start) as w:
            self._blank(w)
        with self.loops.each(end - start) as w:
            column = start + w
            inputs = [self._pixel(cb, v, top + i, left + column, whole) for i in range(self.transform.patch)]
            forward(self.transform.data, inputs, lambda i, value: self._put_half(column, i, value), self.lanes)
        with self.loops.each(self.width - end) as w:
            self._blank(end + w)

    def _edge(self, place: Expr) -> Expr:
        return tirx.max(0, tirx.min(place, self.width))

    def _blank(self, w: Expr) -> None:
        """A column outside the image."""
        for i in range(self.transform.patch):
            self._put_half(w, i, zeros(self.lanes))

    def _put_half(self, w: Expr, i: int, value: Expr) -> None:
        T.buffer_store(self.half, value, [i, w, self.loops.span(0, self.lanes)])

    def _pixel(self, cb: Expr, v: Expr, line: Expr, column: Expr, whole: bool) -> Expr:
        """A vector of the image; zeros in rows outside of it."""
        inside = line if whole else tirx.max(0, tirx.min(line, self.conv.h - 1))
        value = self.elements.of(self.frame.x[self.n, cb, inside, column, self.loops.span(v * self.lanes, self.lanes)])
        return value if whole else tirx.Select(tirx.all(line >= 0, line < self.conv.h), value, zeros(self.lanes))

    def _along(self, cb: Expr, v: Expr, down: Expr) -> None:
        """The second half for one row of tiles: along each of its transformed rows."""
        lanes, patch, columns = self.lanes, self.transform.patch, self.point.columns
        with self.loops.each(patch) as i, self.loops.each(columns) as right:
            line, start = cb * self.point.tiles + down * columns + right, right * self.point.outputs

            def put(j: int, value: Expr) -> None:
                place = [i * patch + j, line, self.loops.span(v * lanes, lanes)]
                T.buffer_store(self.positions, self.transformed.of(value), place)

            inputs = [self.half[i, start + j, self.loops.span(0, lanes)] for j in range(patch)]
            forward(self.transform.data, inputs, put, lanes)

    def panel(self, panel: Expr) -> None:
        """The products of one panel, and its part of the result."""
        point, loops = self.point, self.loops
        runs = ceildiv(point.tiles, point.width)
        with loops.each(self.transform.patch**2) as position, loops.each(runs) as run:
            start = loops.bind(minimum(run * point.width, point.tiles - point.width))
            self._product(panel, position, start)
        self._inverse(panel)

    def _product(self, panel: Expr, position: Expr, start: Expr) -> None:
        """The register tile: `width` tiles by the panel, summed over the input channels."""
        point, conv, loops, k = self.point, self.conv, self.loops, self.instruction.k
        tile = RegisterTile(self.instruction, point.width, point.panel, point.lanes)
        tile.clear()
        with loops.each(conv.c // conv.block) as cb, loops.each(conv.block // k // self.depth) as part:
            lines, step = [cb * point.tiles + start + i for i in range(point.width)], part * self.depth

            def weights(later: int) -> list[Expr]:
                spans = [loops.span(first * k, lanes * k) for first, lanes in tile.vectors]
                return [self.frame.weight[panel, position, cb, step + later, span] for span in spans]

            channels = loops.span(step * k, self.depth * k)
            tile.steps([self.positions[position, line, channels] for line in lines], weights)
        tile.store(self.products, lambda i: [position, start + i], loops)

    def _inverse(self, panel: Expr) -> None:
        """The part of the result that one panel makes: as `patches`, down the columns and along the rows."""
        point, lanes = self.point, self.store_lanes
        steps = (point.panel // lanes, point.rows)
        with self.loops.each(steps[0] * steps[1]) as position:
            v, down = self.loops.unravel(position, steps)
            channel = panel * point.panel + v * lanes
            with when(None if self.conv.oc % point.panel == 0 else channel < self.conv.oc):
                self._inverse_down(v, down)
                self._inverse_along(channel, (self.row + down) * point.outputs)

    def _inverse_down(self, v: Expr, down: Expr) -> None:
        lanes, patch, columns = self.store_lanes, self.transform.patch, self.point.columns
        with self.loops.each(patch) as j, self.loops.each(columns) as right:
            place = [down * columns + right, self.loops.span(v * lanes, lanes)]

            def put(i: int, value: Expr) -> None:
                T.buffer_store(self.tall, value, [i, right * patch + j, self.loops.span(0, lanes)])

            inputs = [self.products[(j + i * patch, *place)] for i in range(patch)]
            inverse(self.transform.inverse, inputs, put, lanes)

    def _inverse_along(self, channel: Expr, top: Expr) -> None:
        """The rest of the inverse transform for a row of tiles, and the epilogue of its pixels."""
        outputs, conv = self.point.outputs, self.conv
        with self.loops.each(outputs) as i:
            ragged = conv.oh % outputs != 0
            with when(top + i < conv.oh if ragged else None), self.loops.each(self.point.columns) as right:
                self._pixels(channel, top + i, i, right)

    def _pixels(self, channel: Expr, h: Expr, i: Expr, right: Expr) -> None:
        """Row `i` of one tile."""
        lanes, patch, outputs, conv = self.store_lanes, self.transform.patch, self.point.outputs, self.conv
        result, writer = Vectors(outputs, lanes), Writer(self.frame.epilogue, lanes)
        inputs = [self.tall[i, right * patch + j, self.loops.span(0, lanes)] for j in range(patch)]
        inverse(self.transform.inverse, inputs, result.put, lanes)
        for j in range(outputs):

            def value(lane: Expr, j: int = j) -> Expr:
                return result.element(j, lane)

            w = (self.column + right) * outputs + j
            with when(None if conv.ow % outputs == 0 else w < conv.ow):
                writer.store(self.n, channel, h, w, value)
