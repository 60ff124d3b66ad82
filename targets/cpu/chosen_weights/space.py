"""The tilings of a product by chosen matrices, and the time each is expected to take."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from dsc.targets.cpu.chosen_weights.code import write
from dsc.targets.cpu.chosen_weights.problem import ChosenProduct
from dsc.targets.cpu.gemm.panels import Panels
from dsc.targets.cpu.gemm.tiling import Tiling
from dsc.targets.cpu.machine import Cpu
from dsc.targets.cpu.tile import most_rows
from dsc.targets.kernel import ArrayType, Implementation
from dsc.targets.machine import MultiplyAdd

TILE_CYCLES = 30.0
"""Starting a tile, its epilogue, and a loop whose end is a wrong guess."""
SORT_CYCLES = 6.0
"""Of a pair or a matrix, in each task."""
VISIBLE = 0.25
"""Share of loading a panel that multiplying does not hide: it comes from L2 for each tile. A guess."""
VECTORS = (1, 2, 4, 8)
ROWS = (1, 2, 4, 6, 8)


@dataclass(frozen=True, eq=False)
class ChosenWeightsSpace:
    """Register tiles of pairs of one choice, and ways to share panels between tasks."""

    source: ChosenProduct
    machine: Cpu

    def points(self) -> Sequence[Tiling]:
        """All tilings worth considering."""
        lanes, cores = self._instruction.n, self.machine.cores
        widths = dict.fromkeys(min(v, math.ceil(self.source.columns / lanes)) for v in VECTORS)
        found = []
        for vectors in widths:
            panels = math.ceil(self.source.columns / (vectors * lanes))
            shares = {math.ceil(panels / cores), math.ceil(panels / (4 * cores))} if panels > 1 else set()
            for rows in ROWS:
                if rows <= min(self.source.pairs, most_rows(self._instruction, vectors, self.machine.vector_registers)):
                    found.append(Tiling(rows, vectors, lanes, "none"))
                    found += [Tiling(rows, vectors, lanes, "columns", strip=strip) for strip in sorted(shares)]
        return found

    @cached_property
    def _instruction(self) -> MultiplyAdd:
        return self.machine.multiply_adds(*self.source.product.operands)[0]

    @cached_property
    def _chosen(self) -> float:
        """Matrices that are chosen at all, where each choice is as likely."""
        matrices = self.source.matrices
        return matrices * (1 - (1 - 1 / matrices) ** self.source.pairs)

    def estimate(self, point: Tiling) -> float:
        """Seconds: tiles, or the stream of what is chosen if that takes longer, and sorting in each task."""
        source, machine = self.source, self.machine
        each = source.pairs / self._chosen
        tiles = max(0.0, (each - (point.rows - 1) / 2) / point.rows)  # choices are uneven: half a tile is left over
        left = each - tiles * point.rows
        panels = math.ceil(source.columns / point.columns)
        strips = math.ceil(panels / point.strip) if point.by_columns else 1
        of_matrix = tiles * self._tile_cycles(point, point.rows) + left * self._tile_cycles(point, 1)
        cycles = panels * self._chosen * of_matrix + strips * SORT_CYCLES * (source.pairs + source.matrices)
        weights = 4.0 * source.depth * source.columns
        stream = self._chosen * weights / machine.bandwidth(source.matrices * weights)
        share = math.ceil(strips / machine.cores) / strips
        return max(cycles / machine.frequency, stream) * share + (machine.launch_seconds if strips > 1 else 0.0)

    def _tile_cycles(self, point: Tiling, rows: int) -> float:
        row, machine = self._instruction, self.machine
        far = 4 * point.columns * machine.frequency / machine.l2_bandwidth
        load = max(far, 32 * point.columns / machine.load_bits + rows / machine.broadcasts)
        step = max(rows * point.vectors / row.rate, load, row.latency) + VISIBLE * far
        return self.source.depth * step + TILE_CYCLES

    def build(self, point: Tiling) -> Implementation:
        """The code, and how the matrices are packed: each as `cpu.gemm` has one."""
        product = self.source.product
        assert product.weight is not None
        packing = Panels(point.columns, 1, "float32")
        packed = packing.arrays(ArrayType.of(product.params[product.weight]))
        return Implementation(
            write(self.source, point, self._instruction, {product.weight: packed}), {product.weight: packing}
        )
