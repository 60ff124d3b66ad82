"""Pointwise convolution of packed bytes to one channel, as the sums of all channels of an image are.

A register of direct convolution has an output channel in each lane, of which one would be of use here. So a vector has
all neighbours of several pixels, and is multiplied by their weights, once for each pixel; what the lanes of a pixel
sum up is added when all blocks of channels are done.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
from tvm import tirx
from tvm.ir import Expr
from tvm.tirx.script.builder import ir as T

from dsc.lower.exprs import ceildiv, minimum
from dsc.lower.nominal import batch
from dsc.targets.cpu.conv.cost import TILE_CYCLES
from dsc.targets.cpu.conv.elements import Elements, itemsize
from dsc.targets.cpu.conv.epilogue import Writer
from dsc.targets.cpu.conv.problem import Frame, Region
from dsc.targets.cpu.machine import Cpu
from dsc.targets.cpu.tile import RegisterTile
from dsc.targets.kernel import ArrayType, Implementation
from dsc.targets.machine import MultiplyAdd
from dsc.targets.tir.loops import Loops

VECTORS = (8, 4, 2, 1)
"""Vectors of pixels in a tile, tried: independent sums hide the latency of an instruction."""
PIXEL_CYCLES = 3.0
"""Cycles to add up the lanes of a pixel, and to store it."""


@dataclass(frozen=True)
class PackPixels:
    """[1, C, 1, 1] to [C / neighbours, pixels * neighbours]: the weights of neighbours in a block, once for each pixel
    of a vector; and their sum, if wanted."""

    neighbours: int
    pixels: int
    dtype: str
    """Of the elements, as they are multiplied."""
    sums: bool

    def arrays(self, weight: ArrayType) -> tuple[ArrayType, ...]:
        """The vectors, and the sum in int32."""
        vectors = ArrayType((weight.shape[1] // self.neighbours, self.pixels * self.neighbours), self.dtype)
        return (vectors, ArrayType((1,), "int32")) if self.sums else (vectors,)

    def apply(self, array: np.ndarray) -> tuple[np.ndarray, ...]:
        """The packed copy, and the sum."""
        vectors = np.tile(array.reshape(-1, self.neighbours), (1, self.pixels)).astype(self.dtype)
        return (vectors, array.sum(dtype=np.int32).reshape(1)) if self.sums else (vectors,)


@dataclass(frozen=True)
class SinglePoint:
    """How such a convolution is tiled."""

    lanes: int
    """Sums in a vector."""
    vectors: int
    """Vectors in a tile."""
    parts: int
    """Tasks that an image is shared out to."""


@dataclass(frozen=True)
class SingleSpace:
    """The tilings of one convolution, of which `refusal` has none to name."""

    region: Region
    machine: Cpu

    def points(self) -> Sequence[SinglePoint]:
        """Each instruction, with as many vectors as the image has."""
        return [
            SinglePoint(row.n, vectors, parts)
            for row in usable(self.region, self.machine)
            for vectors in VECTORS
            if vectors * self._pixels(row) <= self._image
            for parts in {1, min(self.machine.cores, self._image // (vectors * self._pixels(row)))}
        ]

    def estimate(self, point: SinglePoint) -> float:
        """Seconds: tiles, or the traffic of the image."""
        conv, machine = self.region.conv, self.machine
        row, n = self._instruction(point), batch((conv.n,))
        width = point.vectors * self._pixels(row)
        tiles = n * ceildiv(self._image, width)
        blocks = conv.c * self._pixels(row) // (row.n * row.k)
        # a load, and what makes other numbers of it, for each instruction
        steps = blocks * max(point.vectors * (1 if itemsize(row.a) == 1 else 3) / row.rate, float(row.latency))
        cycles = tiles * (steps + width * PIXEL_CYCLES + TILE_CYCLES / 4)
        tasks = n * point.parts
        share = ceil(tasks / machine.cores) / tasks
        size = n * conv.c * self._image
        move = size / machine.bandwidth(size, min(tasks, machine.cores))
        return max(share * cycles / machine.frequency, move) + (machine.launch_seconds if tasks > 1 else 0.0)

    def build(self, point: SinglePoint) -> Implementation:
        """The code of `point`."""
        region, row = self.region, self._instruction(point)
        neighbours = min(region.conv.block, row.n * row.k)
        packing = PackPixels(neighbours, self._pixels(row), row.b, row.b == "int8")
        frame = region.frame(packing)
        with frame.function() as made:
            _Nest(region, frame, point, row, region.elements(row.a, frame)).write()
        return Implementation(made.get(), {region.position(region.weight): packing})

    def _instruction(self, point: SinglePoint) -> MultiplyAdd:
        return next(row for row in usable(self.region, self.machine) if row.n == point.lanes)

    def _pixels(self, row: MultiplyAdd) -> int:
        return max(1, row.n * row.k // self.region.conv.block)

    @property
    def _image(self) -> int:
        return int(self.region.conv.h) * int(self.region.conv.w)


def refusal(region: Region, machine: Cpu) -> str | None:
    """Why a convolution is not one of these."""
    conv = region.conv
    if not region.integer or conv.oc != 1 or conv.groups != 1:
        return "not bytes to one channel"
    if not conv.pointwise or conv.block == 1:
        return "not pixel by pixel of a packed image"
    if not isinstance(conv.h, int) or not isinstance(conv.w, int):
        return "an image whose size is not known"
    if not SingleSpace(region, machine).points():
        return "no instruction multiplies the neighbours of a few pixels"
    return None


def usable(region: Region, machine: Cpu) -> list[MultiplyAdd]:
    """Instructions on vectors that hold whole blocks of neighbours, or of which some are a block."""
    block = region.conv.block
    return [
        row
        for row in region.instructions(machine)
        if row.m == 1
        and row.intrinsic is not None
        and block % row.k == 0
        and (row.n * row.k % block == 0 or block % (row.n * row.k) == 0)
    ]


class _Nest:
    """Writes the code of one point."""

    def __init__(
        self, region: Region, frame: Frame, point: SinglePoint, instruction: MultiplyAdd, elements: Elements
    ) -> None:
        """Declares the view of the input in the current frame."""
        conv = region.conv
        self.conv, self.frame, self.point, self.instruction, self.elements = conv, frame, point, instruction, elements
        self.loops = Loops()
        self.image, self.lane = int(conv.h) * int(conv.w), instruction.n * instruction.k
        self.pixels = max(1, self.lane // conv.block)
        self.width = self.pixels * point.vectors
        shape = (conv.n, conv.c // conv.block, self.image * conv.block)
        self.view: tirx.Buffer = T.decl_buffer(shape, frame.x.dtype, data=frame.x.data)

    def write(self) -> None:
        """All images, in tasks of some tiles each; the last tile of an image is moved back to end with it."""
        conv, loops = self.conv, self.loops
        tiles = ceildiv(self.image, self.width)
        share = ceildiv(tiles, self.point.parts)
        shape = (conv.n, ceildiv(tiles, share))
        kind = T.serial if self.point.parts == 1 and conv.n == 1 else T.parallel
        with loops.each(conv.n * shape[1], kind) as position:
            n, part = loops.unravel(position, shape)
            count = share if tiles % share == 0 else minimum(share, tiles - part * share)
            with loops.each(count) as tile:
                start = (part * share + tile) * self.width
                if self.image % self.width:
                    start = minimum(start, self.image - self.width)
                self._tile(n, loops.bind(start))

    def _tile(self, n: Expr, start: Expr) -> None:
        """The sums of a tile's pixels, and their epilogue."""
        conv, loops, lanes = self.conv, self.loops, self.instruction.n
        tile = RegisterTile(self.instruction, self.point.vectors, lanes)
        writer = Writer(self.frame.epilogue, 1)
        tile.clear()
        parts = ceildiv(conv.block, self.lane)
        with loops.each(conv.c // conv.block) as block, loops.each(parts) as part:
            weights = self.frame.weight[block * parts + part, loops.span(0, self.lane)]
            for i in range(self.point.vectors):
                first = (start + i * self.pixels) * conv.block + part * self.lane
                x = self.elements.of(self.view[n, block, loops.span(first, self.lane)])
                tile.multiply_add(i, 0, x, weights)
        each = lanes // self.pixels
        for pixel in range(self.width):
            i, first = pixel // self.pixels, pixel % self.pixels * each
            h, w = tirx.floordiv(start + pixel, conv.w), tirx.floormod(start + pixel, conv.w)

            def value(_: Expr, i: int = i, first: int = first) -> Expr:
                total = tile.sums[i, first]
                for lane in range(first + 1, first + each):
                    total = total + tile.sums[i, lane]
                return self.elements.corrected(total, loops.const(0))

            writer.store(n, loops.const(0), h, w, value)
