"""The tilings of a product by a weight of which two of four inputs are kept, and the time each is expected to take."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product

from tvm import te

from dsc.lower.nominal import nominal, volume
from dsc.lower.stages import element_bytes
from dsc.targets.gpu.contraction.source import Contraction
from dsc.targets.gpu.estimate import BlockStep, steps_seconds
from dsc.targets.gpu.machine import Gpu
from dsc.targets.gpu.matrix.side import WORD_BITS, Side
from dsc.targets.gpu.matrix.space import LOAD_INSTRUCTIONS
from dsc.targets.gpu.matrix.tiling import STAGES, WORD_BYTES
from dsc.targets.gpu.sparse.packing import View
from dsc.targets.gpu.sparse.tiling import SparseTiling
from dsc.targets.gpu.structured.code import write
from dsc.targets.gpu.structured.instruction import MmaSparse
from dsc.targets.gpu.structured.packing import LANES, TwoOfFour
from dsc.targets.kernel import ArrayType, Implementation
from dsc.targets.machine import MultiplyAdd

ROWS, GROUPS, CHUNKS = (128, 64, 32), (1, 2, 4), (8, 16)
WARPS = ((1, 8), (1, 4), (2, 4), (2, 2), (1, 2), (4, 2))
"""One below the other, and side by side."""
PIECE_INSTRUCTIONS = 16
"""To load one, and to take it."""
INPUT_INSTRUCTIONS = 6
"""To load a fragment of the dense factor, for one instruction's depth."""


@dataclass(frozen=True, eq=False)
class StructuredSpace:
    """Tiles of rows and of groups of outputs."""

    source: Contraction
    side: Side
    """The left factor."""
    weight: int
    """Which of the inputs is the right one."""
    view: View
    machine: Gpu
    instruction: MultiplyAdd
    by: MmaSparse

    def points(self) -> Sequence[SparseTiling]:
        """Those that fit the machine."""
        return self._points

    @cached_property
    def _points(self) -> tuple[SparseTiling, ...]:
        return tuple(point for point in self._tilings() if point.has_room(self.by, self.machine, 1))

    def _tilings(self) -> Iterator[SparseTiling]:
        stages = STAGES if self.machine.copies_to_shared else STAGES[-1:]
        for rows, (down, across), groups, chunks, count in product(ROWS, WARPS, GROUPS, CHUNKS, stages):
            yield SparseTiling(self.by.name, rows, across * groups * self.by.columns, down, across, chunks, count)

    def _depth(self, point: SparseTiling) -> int:
        return point.chunks * self.side.chunk

    def estimate(self, point: SparseTiling) -> float:
        """Seconds: steps at the rate of multiplying, of reading the dense factor from shared memory, of bringing it
        there, or of waiting for it."""
        source, machine, by, depth = self.source, self.machine, self.by, self._depth(point)
        m, n, k = nominal(source.m), nominal(source.n), nominal(source.k)
        down, across, steps = math.ceil(m / point.rows), math.ceil(n / point.columns), math.ceil(k / depth)
        pieces = point.columns // by.columns * (depth // by.deep)
        piece_bytes = LANES * by.words * WORD_BYTES
        fragments = point.warps * (point.warp_rows // by.rows) * (depth // by.depth)
        together = max(self.side.together_in_depth, self.side.converted)
        at_once = together if together * self.side.bits >= WORD_BITS else 1
        loads = point.rows * depth / at_once * LOAD_INSTRUCTIONS / machine.warp
        step = BlockStep(
            threads=point.warps * machine.warp,
            registers=point.thread_registers(by, machine),
            shared_bytes=point.shared_bytes(by),
            products=point.rows * point.columns * depth,
            shared_traffic=fragments * by.rows * by.depth * self.side.bits / 8 + point.staged_bytes
            + pieces * point.warps_down * piece_bytes,
            instructions=loads + pieces * point.warps_down * PIECE_INSTRUCTIONS + fragments * INPUT_INSTRUCTIONS,
            ahead=point.ahead,
            stored_traffic=float(2 * point.rows * point.columns * WORD_BYTES),
        )  # fmt: skip
        stored = steps * pieces * piece_bytes
        loaded = down * across * (stored + point.rows * k * self.side.bytes)
        others = (*(param for i, param in enumerate(source.params) if i != self.weight), *source.outputs)
        moved = sum(volume(tensor.shape) * element_bytes(tensor) for tensor in others) + across * stored
        return steps_seconds(machine, step, self.instruction, down * across, steps, float(moved), loaded)

    def build(self, point: SparseTiling) -> Implementation:
        """The code, and how the weight is packed."""
        source, depth = self.source, self._depth(point)
        groups = math.ceil(nominal(source.n) / point.columns) * (point.columns // self.by.columns)
        pieces = math.ceil(self.view.depth / depth) * (depth // self.by.deep)
        packing = TwoOfFour(self.view, self.by, groups, pieces, self.side.is_centered)
        arrays = packing.arrays(ArrayType.of(source.params[self.weight]))
        packed = [te.placeholder(array.shape, array.dtype) for array in arrays]
        params = (*source.params[: self.weight], *packed, *source.params[self.weight + 1 :])
        source = replace(source, params=params, packings={self.weight: packing})
        made = write(source, self.side, packed, point, self.by, self.machine)
        return Implementation(made, source.packings)
