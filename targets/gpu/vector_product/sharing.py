"""The points of the design space: how the threads of a block, and blocks, share a matrix."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product

from dsc.lower.nominal import nominal
from dsc.targets.gpu.machine import Gpu
from dsc.targets.gpu.vector_product.source import VectorProduct

ROWS = 8
"""Of a block, at most: each is as many sums in registers as a thread has columns. Where neighbours in the result are of
one column, a block may have all rows, so that they are stored together."""
THREADS = (128, 256, 512, 1024)
"""Of a block."""
DEPTH = 4
"""Of a thread in a step, where they are no vector: so many loads are under way together."""
BROKEN_PIECES = 4
"""That threads read together at least where rows do not begin where pieces of memory do: each costs one more."""
ACROSS = (128, 64, 32, 16, 8, 4, 2, 1)
"""Threads that have columns of their own, where neighbouring threads do."""
DOWN = (256, 128, 64, 32, 16, 8)
"""Threads that share a column, where neighbouring threads do."""
COLUMNS = (1, 2, 4)
"""Of a thread, where it reads neighbours in depth."""
SLICES = (1, 4, 16, 64)
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
    by_row: bool = False
    """Whether neighbouring threads store neighbouring rows of a column, not columns of a row."""

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
        """Elements of shared memory for a row: threads that read a column and its neighbours go to different banks."""
        places = self.columns // self.vector * self.pitch
        apart = -(-BANKS // (self.rows * self.vector)) * self.vector
        return places + (apart - places) % BANKS if self.by_row else places

    def shared_bytes(self, machine: Gpu, element_bytes: int) -> int:
        """Of a block, for sums of that size."""
        return self.parts(machine.warp) * self.rows * self.row_places * element_bytes

    @property
    def registers(self) -> int:
        """Of a thread, about: sums, operands, what is loaded, addresses."""
        return self.rows * self.columns + self.depth * (self.rows + self.columns) + 40


def sharings(source: VectorProduct, sum_bytes: int) -> Iterator[Sharing]:
    """All worth considering of which a multiprocessor has room for a block; those with wide pieces of memory first."""
    machine = source.machine
    for rows in _rows(source):
        for made in _by_depth(source, rows) if source.by_depth else _by_column(source, rows):
            for slices in SLICES:
                is_long = slices == 1 or nominal(source.contraction.k) >= 2 * slices * made.step
                sharing = replace(made, slices=slices, by_row=source.is_stored_by_row)
                if is_long and _fits(sharing, machine, sum_bytes):
                    yield sharing


def _fits(sharing: Sharing, machine: Gpu, sum_bytes: int) -> bool:
    return (
        sharing.threads <= machine.max_threads
        and sharing.registers <= min(machine.registers_per_thread, machine.registers // sharing.threads)
        and sharing.shared_bytes(machine, sum_bytes) <= machine.shared_bytes
    )


def _rows(source: VectorProduct) -> list[int]:
    """As many as there are, or parts of equal size."""
    m = nominal(source.m)
    blocks = -(-m // ROWS)
    parts = -(-m // blocks)
    return [m, parts] if source.is_stored_by_row and parts < m else [parts]


def _by_column(source: VectorProduct, rows: int) -> Iterator[Sharing]:
    """Neighbouring threads have neighbouring columns: all of them, or whole pieces of memory."""
    sector, n, k = source.machine.sector_bytes, nominal(source.n), nominal(source.contraction.k)
    columns, size = source.together, source.element_bytes
    is_broken = n * size % sector != 0
    least = BROKEN_PIECES * sector if is_broken else sector
    apart = is_broken or source.vectors_together == 1
    for across, threads in product(ACROSS, THREADS):
        made = Sharing(rows, columns, DEPTH, across, threads, by_depth=False, interleaved=apart)
        fills = made.width * size >= least or made.width >= n or across == ACROSS[0]
        is_wide = made.width >= 2 * max(n, columns)
        is_deep = made.step >= 2 * k and threads != THREADS[0]
        if fills and not is_wide and not is_deep:
            yield made


def _by_depth(source: VectorProduct, rows: int) -> Iterator[Sharing]:
    """Neighbouring threads have neighbouring vectors of a column, or elements where those are no vectors."""
    n, k, vector = nominal(source.n), nominal(source.contraction.k), source.together
    depth = DEPTH if vector == 1 else vector
    for down, threads, columns in product(DOWN, THREADS, COLUMNS):
        if down > threads:
            continue
        made = Sharing(rows, columns, depth, threads // down, threads, by_depth=True, interleaved=vector == 1)
        is_smallest = (down, columns) == (DOWN[-1], COLUMNS[0])
        if is_smallest or (made.step < 2 * k and made.width < 2 * n):
            yield made
