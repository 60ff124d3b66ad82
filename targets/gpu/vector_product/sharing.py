"""The points of the design space: how the threads of a block, and blocks, share a matrix."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from dsc.lower.nominal import nominal
from dsc.targets.gpu.machine import Gpu
from dsc.targets.gpu.vector_product.source import VectorProduct

ROWS = 8
"""Of a block, at most: each is as many sums in registers as a thread has columns."""
THREADS = (128, 256)
"""Of a block."""
DEPTH = 4
"""Of a thread in a step, where it reads columns: so many loads are under way together."""
SLICES = (1, 4, 16)
"""Parts of the depth that are summed by blocks of their own."""
BANKS = 32
"""Of shared memory, each 4 bytes wide."""
VECTOR = 4
"""Elements that a thread writes to shared memory at once, at most: 16 bytes of float32."""


@dataclass(frozen=True)
class Sharing:
    """What a thread has of the product, and how threads lie in it: `across` of them in columns, the others in depth."""

    rows: int
    """Of a block, and of each thread."""
    columns: int
    """Of a thread."""
    depth: int
    """Of a thread, in a step."""
    across: int
    """Threads of a block that have columns of their own."""
    threads: int
    """Of a block."""
    by_depth: bool
    """Whether neighbouring threads, and what a thread loads at once, are neighbours in depth, not in column."""
    interleaved: bool = False
    """Whether the depths of a thread are those of its neighbours apart: all together read one piece of memory."""
    slices: int = 1
    """Parts of the depth: with several, their sums go to memory, and a second launch adds them."""

    @property
    def down(self) -> int:
        """Threads that share a column."""
        return self.threads // self.across

    @property
    def width(self) -> int:
        """Columns of a block."""
        return self.columns * self.across

    @property
    def step(self) -> int:
        """Depth of a block in a step."""
        return self.depth * self.down

    def parts(self, warp: int) -> int:
        """Sums of a column that are left when each warp has added its own."""
        together = min(self.down, warp) if self.by_depth else max(1, warp // self.across)
        return self.down // together

    @property
    def vector(self) -> int:
        """Columns of a thread that are written to shared memory at once."""
        return 1 if self.by_depth else min(self.columns, VECTOR)

    @property
    def pitch(self) -> int:
        """Elements of shared memory for what the threads of a column write at once: the next goes to other banks."""
        line = self.across * self.vector
        return line + BANKS // 2 if self.columns > self.vector and line % BANKS == 0 else line

    @property
    def row_places(self) -> int:
        """Elements of shared memory for a row."""
        return self.columns // self.vector * self.pitch

    def shared_bytes(self, machine: Gpu, element_bytes: int) -> int:
        """Of a block, for sums of that size."""
        return self.parts(machine.warp) * self.rows * self.row_places * element_bytes

    @property
    def registers(self) -> int:
        """Of a thread, about: sums, operands, what is loaded, addresses."""
        return self.rows * self.columns + self.depth * (self.rows + 2 * self.columns) + 40


def sharings(source: VectorProduct, sum_bytes: int) -> Iterator[Sharing]:
    """All worth considering, whose sums fit the memory that a block shares."""
    machine, rows = source.machine, _rows(source)
    for made in _by_depth(source, rows) if source.by_depth else _by_column(source, rows):
        for slices in SLICES:
            long = slices == 1 or nominal(source.contraction.k) >= 2 * slices * made.step
            sharing = replace(made, slices=slices)
            if long and sharing.shared_bytes(machine, sum_bytes) <= machine.shared_bytes:
                yield sharing


def _rows(source: VectorProduct) -> int:
    """As many as there are, or parts of equal size."""
    m = nominal(source.m)
    blocks = -(-m // ROWS)
    return -(-m // blocks)


def _by_column(source: VectorProduct, rows: int) -> Iterator[Sharing]:
    """Neighbouring threads have neighbouring columns: those that fill a piece of memory at least."""
    machine, read = source.machine, source.along_columns
    columns, size = read.together, read.element_bytes
    depth = DEPTH if columns * size >= machine.vector_bytes // 2 else 2 * DEPTH
    apart = source.vectors_along_depth.together < depth
    across = 1
    while across <= machine.warp:
        piece = across * columns * size
        wide = piece >= 2 * machine.sector_bytes or across * columns >= nominal(source.n)
        if wide and across * columns < 2 * max(nominal(source.n), columns):
            broken = nominal(source.n) * size % machine.sector_bytes != 0
            for threads in THREADS:
                yield Sharing(rows, columns, depth, across, threads, by_depth=False, interleaved=apart or broken)
        across *= 2


def _by_depth(source: VectorProduct, rows: int) -> Iterator[Sharing]:
    """Neighbouring threads have neighbouring vectors of a column."""
    depth = source.along_depth.together
    for threads in THREADS:
        down = 8
        while down <= threads:
            if down == 8 or down * depth < 2 * nominal(source.contraction.k):
                for columns in (1, 2, 4):
                    yield Sharing(rows, columns, depth, threads // down, threads, by_depth=True)
            down *= 2
