"""The panels of a product that skips inputs of 0, and the time each is expected to take."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from dsc.targets.cpu.gemm.panels import Panels
from dsc.targets.cpu.gemm.product import Product
from dsc.targets.cpu.gemm.space import GemmSpace
from dsc.targets.cpu.gemm.tiling import Tiling
from dsc.targets.cpu.machine import Cpu
from dsc.targets.cpu.sparse_inputs.code import write
from dsc.targets.cpu.sparse_inputs.panels import InputPanels
from dsc.targets.kernel import ArrayType, Implementation
from dsc.targets.machine import MultiplyAdd

LISTING_CYCLES = 2.0
"""Putting down one element of the inputs."""
GROUP_CYCLES = 40.0
"""Beginning a group of inputs in a panel: where their weights are, and the first of them from beyond L1."""
SCATTERED = 1.15
"""What weights take longer that are not all read: measured, 1.04 to 1.2 where none is left out."""
MOST_INPUTS, MOST_ASKED = 16, 8
"""Inputs that are multiplied at once, and how many where their weights are asked for ahead: each is a stream."""
VECTORS = 2
"""Of a row's sums in registers."""
MOST_ROWS = 4
"""The more there are, the fewer inputs are 0 in all of them."""


@dataclass(frozen=True, eq=False)
class SparseInputsSpace:
    """Panels as wide as their sums fit L1, or narrower for there to be some for each core."""

    source: Product
    machine: Cpu
    zeros: float
    """The share of the elements of the inputs that is expected to be 0."""

    def points(self) -> Sequence[InputPanels]:
        """All worth considering."""
        return [
            InputPanels(tiling, self._inputs(tiling.rows), VECTORS, self._from_memory)
            for tiling in dict.fromkeys(self._tilings(int(self.source.m), int(self.source.n)))
        ]

    def _tilings(self, rows: int, n: int) -> Iterator[Tiling]:
        lanes, cores = self._instruction.n, self.machine.cores
        widest = max(1, self.machine.l1_bytes // 2 // (4 * rows * VECTORS * lanes))
        for parts in (1, cores, 2 * cores):
            steps = min(widest, math.ceil(n / (parts * VECTORS * lanes)))
            panels = math.ceil(n / (steps * VECTORS * lanes))
            yield Tiling(rows, steps * VECTORS, lanes, "none")
            if panels > 1:
                yield Tiling(rows, steps * VECTORS, lanes, "columns", strip=math.ceil(panels / max(parts, cores)))

    def _inputs(self, rows: int) -> int:
        """As many as have their values in registers, beside the sums and a vector of weights."""
        left = self.machine.vector_registers - VECTORS * rows - 1
        return min(MOST_ASKED if self._from_memory else MOST_INPUTS, max(1, left // rows))

    @cached_property
    def _instruction(self) -> MultiplyAdd:
        return self.machine.multiply_adds(*self.source.operands)[0]

    @cached_property
    def _from_memory(self) -> bool:
        return 4 * int(self.source.k) * int(self.source.n) > max(self.machine.l2_bytes, self.machine.l3_bytes)

    @cached_property
    def _dense_seconds(self) -> float:
        """Of reading all weights, and computing with them, on one core."""
        dense = GemmSpace(self.source, self.machine)
        return min(dense.estimate(point) for point in dense.points() if point.axis == "none")

    def estimate(self, point: InputPanels) -> float:
        """Seconds: of a dense product the share whose inputs are not 0 in some row, and making and following lists."""
        tiling, k = point.tiling, int(self.source.k)
        left = 1 - self.zeros**tiling.rows
        panels = math.ceil(int(self.source.n) / tiling.columns)
        strips = math.ceil(panels / tiling.strip) if tiling.by_columns else 1
        cycles = strips * LISTING_CYCLES * k * tiling.rows + panels * GROUP_CYCLES * math.ceil(k * left / point.inputs)
        seconds = self._dense_seconds * left * SCATTERED + cycles / self.machine.frequency
        share = math.ceil(strips / self.machine.cores) / strips
        return seconds * share + (self.machine.launch_seconds if strips > 1 else 0.0)

    def build(self, point: InputPanels) -> Implementation:
        """The code, and how the weight is packed."""
        source = self.source
        assert source.weight is not None
        packing = Panels(point.tiling.columns, 1, source.packed, source.transposed_weight)
        packed = packing.arrays(ArrayType.of(source.params[source.weight]))
        code = write(source, point, self._instruction, {source.weight: packed})
        return Implementation(code, {source.weight: packing})
