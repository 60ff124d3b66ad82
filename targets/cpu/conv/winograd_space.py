"""The design space of Winograd convolution, and its estimate."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil

from dsc.lower.exprs import ceildiv
from dsc.lower.nominal import batch
from dsc.targets.cpu.conv.cost import TILE_CYCLES, cold_weights, step_cycles, together, widths
from dsc.targets.cpu.conv.elements import BFLOAT16, FLOAT32, itemsize
from dsc.targets.cpu.conv.problem import Convolution, Region
from dsc.targets.cpu.conv.winograd import WinogradPoint, grid, implement, instruction_of
from dsc.targets.cpu.conv.winograd_transform import TAPS
from dsc.targets.cpu.machine import Cpu
from dsc.targets.kernel import Implementation

TRANSFORM_CYCLES = 4.0
"""Cycles for each element of each vector that a transform of one dimension reads and writes, at one FMA per cycle."""
TILES = 64
"""Tiles in a task at most."""


def refusal(conv: Convolution, out_block: int) -> str | None:
    """Why Winograd's algorithm is not for `conv`, or None."""
    if conv.kernel != (TAPS, TAPS) or conv.strides != (1, 1) or conv.dilations != (1, 1):
        return "only 3x3 kernels, neither strided nor dilated"
    if conv.groups != 1:
        return "grouped"
    if min(conv.block, out_block) < 4:
        return "not packed"
    if not (isinstance(conv.oh, int) and isinstance(conv.ow, int)):
        return "the size of the image is symbolic"
    return None


@dataclass(frozen=True)
class WinogradSpace:
    """All tilings worth trying of one Winograd convolution."""

    region: Region
    machine: Cpu
    out_block: int

    def points(self) -> Sequence[WinogradPoint]:
        """For each tile size and register tile the best rectangles of tiles for a task."""
        return [min(shared, key=self.estimate) for shared in self._register_tiles() if shared]

    def _register_tiles(self) -> Iterator[list[WinogradPoint]]:
        conv, machine = self.region.conv, self.machine
        for factor, outputs in self._kinds():
            rectangles = self._rectangles(outputs)
            for instruction in machine.multiply_adds(factor, factor, FLOAT32)[:2]:
                lanes, depth = instruction.n, together(machine, instruction, conv.block)
                for vectors in range(1, min(3, ceildiv(conv.oc, lanes)) + 1):
                    found: dict[int, list[WinogradPoint]] = {}
                    for rows, columns in rectangles:
                        for width in widths(machine, instruction, vectors, rows * columns, depth)[:2]:
                            for panels in self._shares(lanes * vectors):
                                point = WinogradPoint(factor, outputs, lanes, vectors, width, rows, columns, panels)
                                found.setdefault(width, []).append(point)
                    yield from found.values()

    def _kinds(self) -> list[tuple[str, int]]:
        """Types that may be multiplied, and sizes of tiles that leave them exact enough.

        Of patches and kernels rounded to bfloat16, F(2x2) makes 1.7 times the error that a direct convolution of
        rounded factors makes (normal numbers, 128 channels), F(4x4) 5 times.
        """
        rounded = [(BFLOAT16, 2)] if self.region.workload.multiplied_as == BFLOAT16 else []
        return [*rounded, (FLOAT32, 4), (FLOAT32, 2)]

    def _rectangles(self, outputs: int) -> list[tuple[int, int]]:
        """Rows and columns of tiles that a task may have: whole rows, or as much of a row as fits."""
        rows, columns = grid(self.region.conv, outputs)
        parts = ceil(columns / TILES)
        width = ceil(columns / parts)
        heights = {ceil(rows / n) for n in range(1, rows + 1)}
        return [(height, width) for height in sorted(heights) if height * width <= max(TILES, width)]

    def _shares(self, panel: int) -> set[int]:
        """Panels in a task: all, or an equal part for each core."""
        panels = ceil(self.region.conv.oc / panel)
        return {panels, ceil(panels / self.machine.cores)}

    def estimate(self, point: WinogradPoint) -> float:
        """Seconds: transforms and products of the busiest thread, and the weights from memory."""
        conv, machine = self.region.conv, self.machine
        rows, columns = grid(conv, point.outputs)
        panels = ceil(conv.oc / point.panel)
        tasks = batch((conv.n,)) * ceil(rows / point.rows) * ceil(columns / point.columns) * ceil(panels / point.panels)
        longest = ceil(tasks / machine.cores) if tasks > 1 else 1
        compute = longest * self._task(point) / machine.frequency
        size = itemsize(point.factor) * (point.outputs + 2) ** 2
        cold = cold_weights(machine, size * conv.c * panels * point.panel)
        return max(compute, cold) + 0.3 * min(compute, cold) + (machine.launch_seconds if tasks > 1 else 0.0)

    def _task(self, point: WinogradPoint) -> float:
        """Cycles of one task."""
        conv, machine = self.region.conv, self.machine
        patch = point.outputs + TAPS - 1
        once = TRANSFORM_CYCLES * (point.outputs + patch) * patch
        in_lanes, out_lanes = min(machine.lanes(), conv.block), min(point.lanes, self.out_block)
        forward = once * conv.c / in_lanes / machine.multiply_add(in_lanes).rate
        inverse = once * point.panels * point.panel / out_lanes / machine.multiply_add(out_lanes).rate
        return point.tiles * (forward + inverse) + point.panels * patch**2 * self._product(point)

    def _product(self, point: WinogradPoint) -> float:
        """Cycles of the product of one panel at one position of the patch."""
        conv, machine = self.region.conv, self.machine
        runs = ceil(point.tiles / point.width)
        instruction = instruction_of(point, machine)
        depth = together(machine, instruction, conv.block)
        step = step_cycles(machine, instruction, point.vectors, point.width, depth)
        arithmetic = runs * (conv.c / instruction.k * step + TILE_CYCLES + point.width * point.vectors)
        patches = itemsize(point.factor) * (point.outputs + 2) ** 2 * point.tiles * conv.c
        weights = itemsize(point.factor) * conv.c * point.panel
        near = machine.l2_bandwidth if patches < 0.6 * machine.l2_bytes else machine.beyond_l2
        moved = (patches / (point.outputs + 2) ** 2 / near + weights / machine.beyond_l2) * machine.frequency
        return max(arithmetic, moved) + 0.2 * min(arithmetic, moved)

    def build(self, point: WinogradPoint) -> Implementation:
        """The code of `point`."""
        return implement(self.region, point, self.machine)
