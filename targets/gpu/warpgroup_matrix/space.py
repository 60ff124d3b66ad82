"""The tilings of a contraction by instructions of warpgroups, and the time each is expected to take."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from dsc.lower.exprs import ceildiv
from dsc.targets.gpu.contraction.source import Contraction
from dsc.targets.gpu.estimate import BlockStep
from dsc.targets.gpu.machine import Gpu
from dsc.targets.gpu.matrix.side import WORD_BITS, Side
from dsc.targets.gpu.matrix.space import load_instructions, tiles_seconds
from dsc.targets.gpu.matrix.tiling import CHUNK_WORDS, REGISTERS_PLANNED, WORD_BYTES, Tiling
from dsc.targets.gpu.warpgroup_matrix.code import READING, write
from dsc.targets.gpu.warpgroup_matrix.instruction import ROWS, WARPS, Wgmma
from dsc.targets.gpu.warpgroup_matrix.panels import PANEL_CHUNKS
from dsc.targets.kernel import Implementation
from dsc.targets.machine import MultiplyAdd

WARPGROUPS = (2, 1, 4, 3)
"""Of a block: each has 64 rows of its tile."""
STAGES = (4, 5, 3)
"""Steps in shared memory at once: one is multiplied, the one before may be, the others are on their way."""
OWN_REGISTERS = 40
"""Of a thread, beside the sums and what is on its way: addresses, descriptors."""


@dataclass(frozen=True, eq=False)
class WarpgroupSpace:
    """Tiles of blocks: as many columns as one of the machine's instructions has, and 64 rows for each warpgroup."""

    source: Contraction
    machine: Gpu
    sides: tuple[Side, Side]
    instructions: Mapping[str, tuple[MultiplyAdd, Wgmma]]
    """By intrinsic."""

    @property
    def transposed(self) -> tuple[bool, bool]:
        """Of either factor, whether it goes to shared memory from line to line: where that loads more at once."""
        left, right = (side.together_in_lines > side.together_in_depth for side in self.sides)
        return left, right

    @cached_property
    def _points(self) -> tuple[Tiling, ...]:
        return tuple(point for name in self.instructions for point in self._tilings(name) if self._suits(point))

    def points(self) -> Sequence[Tiling]:
        """Those that fit the machine: what is wasted on a small result shows in the estimate."""
        return self._points

    def _tilings(self, name: str) -> Iterator[Tiling]:
        """Warps lie one below the other."""
        _, by = self.instructions[name]
        for groups in WARPGROUPS:
            for stages in STAGES:
                yield Tiling(name, groups * ROWS, by.across, groups * WARPS, 1, PANEL_CHUNKS, stages)

    def _suits(self, point: Tiling) -> bool:
        """Whether panels are whole, threads have as many chunks as one another, and a block no more than the machine
        gives it."""
        _, by = self.instructions[point.instruction]
        machine, threads, registers = self.machine, point.warps * self.machine.warp, self._registers(point)
        return (
            (not self.transposed[1] or point.columns % (PANEL_CHUNKS * self.sides[1].chunk) == 0)
            and point.rows * point.chunks % threads == point.columns * point.chunks % threads == 0
            and threads <= machine.max_threads
            and point.shared_bytes(by) <= machine.most_shared_bytes
            and registers <= REGISTERS_PLANNED * machine.registers_per_thread
            and registers * threads <= machine.registers
        )

    def _registers(self, point: Tiling) -> int:
        """Of a thread, about: sums, chunks on their way where nothing is copied without registers, and its own."""
        lines = zip(self.sides, (point.rows, point.columns), self.transposed, strict=True)
        chunks = sum(count * point.chunks for side, count, across in lines if not self._is_copied(side, across))
        on_their_way = ceildiv(chunks * CHUNK_WORDS, point.warps * self.machine.warp)
        return self.instructions[point.instruction][1].registers + on_their_way + OWN_REGISTERS

    def _is_copied(self, side: Side, transposed: bool) -> bool:
        """Whether a factor goes to shared memory without registers."""
        together = side.together_in_lines if transposed else side.together_in_depth
        return self.machine.copies_to_shared and together * side.bits >= WORD_BITS

    def estimate(self, point: Tiling) -> float:
        """Seconds: steps at the rate of multiplying, of reading factors from shared memory, of bringing them there, or
        of waiting for them."""
        row, by = self.instructions[point.instruction]
        depth = point.chunks * self.sides[0].chunk
        groups = point.warps // WARPS
        step = BlockStep(
            threads=point.warps * self.machine.warp,
            registers=self._registers(point),
            shared_bytes=point.shared_bytes(by),
            products=point.rows * point.columns * depth,
            # Each warpgroup reads its rows and all columns.
            shared_traffic=groups * (ROWS + point.columns) * depth * self.sides[0].bits / 8 + point.staged_bytes,
            instructions=load_instructions(self.machine, self.sides, point, self.transposed),
            ahead=point.stages - 1 - READING,
            stored_traffic=float(2 * point.rows * point.columns * WORD_BYTES),
            is_behind=True,
        )
        return tiles_seconds(self.machine, self.source, self.sides[0].bits, row, point, step)

    def build(self, point: Tiling) -> Implementation:
        """The code."""
        _, by = self.instructions[point.instruction]
        made = write(self.source, self.sides, self.transposed, point, by, self.machine)
        return Implementation(made, self.source.packings)
