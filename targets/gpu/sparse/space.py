"""The tilings of a product by a sparse weight, and the time each is expected to take."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product

from tvm import te

from dsc.ir import SparseAttr
from dsc.lower.nominal import nominal, volume
from dsc.lower.stages import element_bytes
from dsc.sparsity import Pattern
from dsc.targets.gpu.contraction.source import Contraction
from dsc.targets.gpu.estimate import BlockStep, steps_seconds
from dsc.targets.gpu.machine import Gpu
from dsc.targets.gpu.matrix.results import is_direct
from dsc.targets.gpu.matrix.side import WORD_BITS, Side
from dsc.targets.gpu.matrix.space import LOAD_INSTRUCTIONS
from dsc.targets.gpu.matrix.tiling import WORD_BYTES
from dsc.targets.gpu.sparse.code import Kept, write
from dsc.targets.gpu.sparse.gathering import Gathering
from dsc.targets.gpu.sparse.lines import Lines, along_depth, turned
from dsc.targets.gpu.sparse.packing import KeptInputs, View, room
from dsc.targets.gpu.sparse.tiling import STAGES, SparseTiling
from dsc.targets.kernel import ArrayType, Implementation
from dsc.targets.machine import MultiplyAdd

ROWS = (256, 128, 64, 32)
"""Of a block's tile."""
WARPS_DOWN = (1, 2)
WARPS_ACROSS = (8, 4, 2)
GROUPS = (1, 2, 4)
"""Of outputs, of a warp."""
CHUNKS = (8, 16, 32)
"""Of inputs in a step: the more, the fewer fragments are begun."""
CONFLICTS = 1.3
"""Times that banks are read for lines that are gathered, though they are put in an order in which few conflict."""
LATE = 1.2
"""Standard deviations by which the slowest of a few warps has more fragments than they have on average."""


@dataclass(frozen=True, eq=False)
class SparseSpace:
    """Tiles of rows and of groups of outputs."""

    source: Contraction
    side: Side
    """The left factor."""
    weight: int
    """Which of the inputs is the right one."""
    view: View
    encoding: SparseAttr
    machine: Gpu
    instructions: Sequence[tuple[MultiplyAdd, Gathering]]

    def points(self) -> Sequence[SparseTiling]:
        """Those that fit the machine."""
        return self._points

    @cached_property
    def _points(self) -> tuple[SparseTiling, ...]:
        """Those whose warps have whole pieces of memory of a row of the result, if there are any."""
        width = turned(self.side)
        found = tuple(
            tiling
            for _, by in self.instructions
            for tiling in self._tilings(by)
            if tiling.has_room(by, self.machine, width)
        )
        size = min(element_bytes(output) for output in self.source.outputs)
        whole = tuple(tiling for tiling in found if tiling.warp_columns * size >= self.machine.sector_bytes)
        return whole or found

    def _tilings(self, by: Gathering) -> Iterator[SparseTiling]:
        direct = is_direct(self.source, by, self.machine.sector_bytes)
        for rows, down, across, groups, chunks in product(ROWS, WARPS_DOWN, WARPS_ACROSS, GROUPS, CHUNKS):
            columns = across * groups * by.columns
            yield SparseTiling(by.name, rows, columns, down, across, chunks, STAGES, direct=direct)

    def _by(self, point: SparseTiling) -> tuple[MultiplyAdd, Gathering]:
        return next(found for found in self.instructions if found[1].name == point.instruction)

    def _depth(self, point: SparseTiling) -> int:
        return point.chunks * self.side.chunk

    def _fragments(self, point: SparseTiling, by: Gathering) -> tuple[float, float]:
        """Of a group in a step: on average, and of the slowest warp."""
        depth, pattern = self._depth(point), Pattern.parse(self.encoding.pattern.data)
        blocks = max(1.0, by.columns / pattern.outputs)
        kept = 1.0 - (1.0 - self.encoding.density) ** blocks
        if kept == 0.0:
            return 0.0, 0.0
        begun = 0.5 * (1 - 1 / by.deep)
        average = depth * kept / by.deep + begun
        late = LATE * math.sqrt(depth * kept * (1 - kept) / point.groups(by)) / by.deep
        most = math.ceil(depth / by.deep)
        return min(average, most), min(average + (late if point.warps_across > 1 else 0.0), most)

    def estimate(self, point: SparseTiling) -> float:
        """Seconds: steps at the rate of multiplying what is kept, of gathering inputs from shared memory, of bringing
        them there, or of waiting for them."""
        (row, by), source, machine = self._by(point), self.source, self.machine
        depth, (average, slowest) = self._depth(point), self._fragments(point, by)
        m, n, k = nominal(source.m), nominal(source.n), nominal(source.k)
        down, across, steps = math.ceil(m / point.rows), math.ceil(n / point.columns), math.ceil(k / depth)
        groups = point.columns // by.columns
        fragments = groups * slowest
        of_inputs = fragments * (point.rows // by.rows)
        weight_bytes = len(by.layout) * self.side.bits // 8
        gathered = of_inputs * by.rows * by.deep * self.side.bits / 8 * CONFLICTS
        executed = fragments * point.warps_down * by.instructions + of_inputs * by.parts * by.input_instructions
        step = BlockStep(
            threads=point.warps * machine.warp,
            registers=point.thread_registers(by, machine),
            shared_bytes=point.shared_bytes(by),
            products=round(of_inputs * by.rows * by.columns * by.deep),
            shared_traffic=gathered + 2 * point.staged_bytes + fragments * point.warps_down * weight_bytes,
            instructions=executed + self._loads(point) * LOAD_INSTRUCTIONS / machine.warp,
            stored_traffic=float(2 * point.rows * point.columns * WORD_BYTES),
            is_direct=point.direct,
        )
        stored = groups * steps * average * (weight_bytes + by.deep * WORD_BYTES)
        loaded = down * across * (stored + point.rows * k * self._fetched)
        others = (*(param for i, param in enumerate(source.params) if i != self.weight), *source.outputs)
        moved = sum(volume(tensor.shape) * element_bytes(tensor) for tensor in others) + across * stored
        return steps_seconds(machine, step, row, down * across, steps, moved, loaded)

    @property
    def _fetched(self) -> int:
        """Bytes from memory for an element of the left factor: of inputs that are loaded one by one, row by row,
        a piece of memory each."""
        is_single = self.side.together_in_lines == 1 and turned(self.side) == 1 and not along_depth(self.side)
        return self.machine.sector_bytes if is_single else self.side.bytes

    def _loads(self, point: SparseTiling) -> float:
        """Of threads, in a step, to bring the left factor to shared memory; and stores of words that are turned."""
        elements = point.rows * point.chunks * self.side.chunk
        if self.side.together_in_lines == self.side.chunk:
            return elements / self.side.chunk
        width = turned(self.side)
        return elements / width + (elements * self.side.bits / WORD_BITS / LOAD_INSTRUCTIONS if width > 1 else 0.0)

    def build(self, point: SparseTiling) -> Implementation:
        """The code, and how the weight is packed."""
        _, by = self._by(point)
        source, packing = self.source, self._packing(point, by)
        given = source.params[self.weight]
        arrays = packing.arrays(ArrayType.of(given))
        names = ("starts", "lines", "values", "sums")
        kept = [te.placeholder(a.shape, a.dtype, name=name) for a, name in zip(arrays, names, strict=False)]
        params = (*source.params[: self.weight], *kept, *source.params[self.weight + 1 :])
        source = replace(source, params=params, packings={self.weight: packing})
        made = write(source, self.side, Kept(*kept), point, by, self.machine)
        return Implementation(made, source.packings)

    def _packing(self, point: SparseTiling, by: Gathering) -> KeptInputs:
        depth, n = self._depth(point), nominal(self.source.n)
        lines = Lines(depth, point.rows // self.side.chunk)
        groups = math.ceil(n / point.columns) * (point.columns // by.columns)
        fragments = room(self.encoding, self.view, by.columns, depth, by.deep)
        layout, order = tuple(by.layout), tuple(by.order)
        return KeptInputs(
            self.view, by.columns, groups, depth, by.deep, layout, order, lines.banks(), fragments,
            summed=self.side.is_centered,
        )  # fmt: skip
