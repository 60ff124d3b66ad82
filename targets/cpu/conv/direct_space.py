"""The design space of direct convolution, and its estimate."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import ceil, gcd

from dsc.lower.exprs import ceildiv
from dsc.lower.nominal import batch, nominal
from dsc.targets.cpu.conv.cost import (
    STORE_CYCLES,
    TILE_CYCLES,
    cold_weights,
    step_cycles,
    together,
    widths,
)
from dsc.targets.cpu.conv.direct import DirectPoint, columns_of, implement, instruction_of
from dsc.targets.cpu.conv.elements import itemsize
from dsc.targets.cpu.conv.problem import Convolution, Region
from dsc.targets.cpu.machine import Cpu
from dsc.targets.kernel import Implementation

WIDTHS = 6
"""Tile widths tried for each number of vectors."""
SPILL_CYCLES = 25.0
"""Cost of an accumulator that does not stay in its register. Measured on a 3x3 stem: 19, 23, 28 accumulators."""


@dataclass(frozen=True)
class DirectSpace:
    """All tilings worth trying of one direct convolution."""

    region: Region
    machine: Cpu
    out_block: int

    @cached_property
    def conv(self) -> Convolution:
        """The sizes, as the input is read where pixels are not joined."""
        return self._readings[False]

    @cached_property
    def _readings(self) -> dict[bool, Convolution]:
        """The sizes as the input is read pixel by pixel, and joined where that is less to multiply."""
        region, instruction = self.region, self.region.instructions(self.machine)[0]
        joined = (False, True) if region.joins(instruction) else (False,)
        return {choice: region.read_by(instruction, choice) for choice in joined}

    @cached_property
    def _bytes(self) -> float:
        """Of an element of the weights, and of the input in scratch."""
        return itemsize(self.region.instructions(self.machine)[0].b)

    @cached_property
    def columns(self) -> int:
        """Pixels in a row of the result."""
        return nominal(columns_of(self.conv))

    @cached_property
    def _image(self) -> tuple[int, int]:
        """Rows, and columns of a row, of the result to reckon with."""
        oh, ow = nominal(self.conv.oh), nominal(self.conv.ow)
        return (1, oh * ow) if self.conv.pointwise else (oh, ow)

    def points(self) -> Sequence[DirectPoint]:
        """For each register tile the best of its ways to share the work."""
        return [min(self._shared(*tile), key=self.estimate) for tile in self._tiles()]

    def _tiles(self) -> Iterator[tuple[int, int, int, bool]]:
        per_group = self.conv.oc // self.conv.groups
        for instruction in self.region.instructions(self.machine):
            lanes = instruction.n
            needed = ceildiv(per_group, lanes)
            for vectors in range(1, min(needed, self.machine.vector_registers // 2 - 1) + 1):
                if vectors > 4 and (vectors < needed or self.columns > 4):
                    continue
                for joined, seen in self._readings.items():
                    depth = together(self.machine, instruction, seen.neighbours)
                    for width in widths(self.machine, instruction, vectors, self.columns, depth)[:WIDTHS]:
                        yield lanes, vectors, width, joined

    def _shared(self, lanes: int, vectors: int, width: int, joined: bool) -> Iterator[DirectPoint]:
        panels = ceildiv(self.conv.oc // self.conv.groups, lanes * vectors)
        rows = ceildiv(self.columns, width) if self.conv.pointwise else self._image[0]
        cores = self.machine.cores
        for panel_parts in {1, min(cores, panels), panels}:
            for row_parts in (1, *(cores * 2**k for k in range(6))):
                if row_parts == 1 or row_parts <= rows:
                    yield DirectPoint(lanes, vectors, width, ceil(rows / row_parts), ceil(panels / panel_parts), joined)

    def estimate(self, point: DirectPoint) -> float:
        """Seconds: the tiles of the busiest thread, what their panels stream, and the scratch rows."""
        conv, machine = self._readings[point.joined], self.machine
        n = batch((conv.n,))
        panels = ceildiv(conv.oc // conv.groups, point.panel)
        tiles = ceildiv(self.columns, point.width)
        rows, per_row = (tiles, 1) if conv.pointwise else (self._image[0], tiles)
        tasks = n * conv.groups * ceil(panels / point.panels) * ceil(rows / point.rows)
        longest = ceil(tasks / machine.cores) if tasks > 1 else 1
        task_rows, task_panels = min(point.rows, rows), min(point.panels, panels)
        cycles = longest * (task_rows * per_row * task_panels * self._tile(point) + self._scratch(conv, task_rows))
        compute = cycles / machine.frequency + self._streaming(point, longest, task_panels)
        cold = cold_weights(machine, self._bytes * conv.taps * conv.groups * panels * point.panel)
        return max(compute, cold) + 0.3 * min(compute, cold) + (machine.launch_seconds if tasks > 1 else 0.0)

    def _tile(self, point: DirectPoint) -> float:
        """Cycles of one register tile with its epilogue."""
        conv, machine = self._readings[point.joined], self.machine
        instruction = instruction_of(self.region, point, machine)
        depth = together(machine, instruction, conv.neighbours)
        steps = conv.taps / instruction.k
        reduction = steps * step_cycles(machine, instruction, point.vectors, point.width, depth)
        loops = 2.0 * conv.taps / max(conv.neighbours, 4)
        if conv.beyond and not self.region.integer:
            # of floats, zeros are put in place of what belongs to no tap
            loops += conv.kernel[0] * point.width / machine.pipes
        panel_bytes = self._bytes * conv.taps * point.panel
        if panel_bytes > machine.l1_bytes / 2:
            rate = machine.l2_bandwidth if panel_bytes < 0.75 * machine.l2_bytes else machine.beyond_l2
            reduction = (
                max(reduction, panel_bytes / rate * machine.frequency) + 0.1 * panel_bytes / rate * machine.frequency
            )
        accumulators = point.width * point.vectors
        stored = point.width * point.panel / gcd(point.lanes, self.out_block)
        # a tile of fewer multiply-adds than are in flight overlaps with the next one
        alone = min(1.0, steps * accumulators / machine.window)
        spills = SPILL_CYCLES * max(0, accumulators - machine.vector_registers // 2) if self._written_out else 0.0
        return reduction + loops + stored * STORE_CYCLES + alone * TILE_CYCLES + spills

    @property
    def _written_out(self) -> bool:
        """Whether LLVM unrolls the whole of the innermost loops, and then keeps many weights in registers."""
        return self.conv.block == 1 and self.conv.kernel[1] > 1 and self.conv.taps <= 48

    def _scratch(self, conv: Convolution, rows: int) -> float:
        """Cycles to fill the padded rows of a task; those of a task of many rows do not stay in L2."""
        machine = self.machine
        if not conv.pads and not conv.copied:
            return 0.0
        lines = (rows - 1) * conv.strides[0] + (conv.kernel[0] - 1) * conv.dilations[0] + 1
        size = self._bytes * conv.c // conv.groups * lines * nominal(conv.w)
        rate = machine.l2_bandwidth if size < machine.l2_bytes / 2 else machine.beyond_l2
        return 2 * size / rate * machine.frequency

    def _streaming(self, point: DirectPoint, tasks: int, panels: int) -> float:
        """Seconds for which the weights of a thread's further tasks come from beyond its L2."""
        size = self._bytes * self._readings[point.joined].taps * point.panel * panels
        times = tasks - 1 if size > self.machine.l2_bytes / 2 else 0
        return 0.5 * times * size / self.machine.beyond_l2

    def build(self, point: DirectPoint) -> Implementation:
        """The code of `point`."""
        return implement(self.region, point, self.machine)
