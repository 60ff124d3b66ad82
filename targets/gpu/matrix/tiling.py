"""The points of the design space, and how tiles lie in shared memory."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tvm import tirx
from tvm.ir import Expr

from dsc.lower.exprs import ceildiv
from dsc.targets.gpu.machine import Gpu
from dsc.targets.gpu.matrix.fragments import CHUNK_BYTES, Fragments, Sums

WORD_BYTES = 4
CHUNK_WORDS = CHUNK_BYTES // WORD_BYTES
BANKED_CHUNKS = 8
"""Chunks side by side that lie in all 32 banks."""


REGISTERS_PLANNED = 0.9
"""Of those that a thread may have: compilers want some for what they load early."""


@dataclass(frozen=True)
class Centered:
    """Which sums of lines zero points ask for (see `dsc.targets.gpu.matrix.centering`)."""

    rows: bool = False
    """Of rows of the left factor: where the right one has zero points."""
    columns: bool = False

    def fragments(self, down: int, across: int) -> int:
        """Those beside the `down` times `across` of the product: each is as many instructions, and registers."""
        return self.rows * down + self.columns * across


@dataclass(frozen=True)
class Tiling:
    """The tile of the result that a block computes, and how its warps share it out."""

    instruction: str
    """The intrinsic with which it does."""
    rows: int
    columns: int
    warps_down: int
    warps_across: int
    chunks: int
    """Of 16 bytes, of every row and column: the depth of a step."""
    stages: int
    """Steps whose operands are in shared memory at once: one is multiplied, the others are on their way."""
    slices: int = 1
    """Parts of a step's depth, each multiplied by warps of its own, whose sums are added at the end. So a small tile
    keeps as many warps busy as a large one, and each reads as little of shared memory."""
    loads: int = 1
    """Steps whose operands are on their way in registers at once, where nothing is copied without."""
    direct: bool = False
    """Whether sums go from registers to memory, not by way of shared memory."""

    @property
    def warps(self) -> int:
        """Of a block."""
        return self.slices * self.warps_down * self.warps_across

    @property
    def ahead(self) -> int:
        """Steps on their way while one is multiplied."""
        return self.stages - 2 + self.loads

    @property
    def warp_chunks(self) -> int:
        """Of a step's depth, that a warp multiplies."""
        return self.chunks // self.slices

    @property
    def warp_rows(self) -> int:
        """Of the part of the tile that a warp computes."""
        return self.rows // self.warps_down

    @property
    def warp_columns(self) -> int:
        return self.columns // self.warps_across

    @property
    def staged_words(self) -> int:
        """Of shared memory, for the operands."""
        return self.stages * (self.rows + self.columns) * self.chunks * CHUNK_WORDS

    @property
    def staged_bytes(self) -> int:
        """Of the operands of one step."""
        return (self.rows + self.columns) * self.chunks * CHUNK_BYTES

    def suits(self, fragments: Fragments, vector: int, machine: Gpu, centered: Centered = Centered()) -> bool:
        """Whether warps have whole fragments and lines of whole vectors, threads as many chunks as one another, and a
        block no more than the machine gives it."""
        threads, registers = self.warps * machine.warp, self.registers(fragments, machine, centered)
        return (
            self.warp_rows % fragments.rows == self.warp_columns % fragments.columns == 0
            and self.chunks % (fragments.chunks * self.slices) == 0
            and self.rows * self.chunks % threads == self.columns * self.chunks % threads == 0
            and self.warp_columns % vector == 0
            and threads <= machine.max_threads
            and self.shared_bytes(fragments) <= machine.most_shared_bytes
            and registers <= REGISTERS_PLANNED * machine.registers_per_thread
            and registers * threads <= machine.registers
        )

    def shared_bytes(self, fragments: Sums) -> int:
        """Of a block: operands, and after them in the same place the sums, if they come there."""
        sums = 0 if self.direct else self.warps * Strip.of(self, fragments).words
        return max(self.staged_words, sums) * WORD_BYTES

    def strips_at_once(self, fragments: Sums) -> int:
        """Rows of fragments of each warp whose sums fit where operands were, shared out evenly over as few turns."""
        down = self.warp_rows // fragments.rows
        room = self.shared_bytes(fragments) // (self.warps * Strip.of(self, fragments).words * WORD_BYTES)
        return ceildiv(down, ceildiv(down, min(room, down)))

    def multiplied(self, fragments: Fragments, centered: Centered) -> int:
        """Fragments of sums of a warp."""
        down, across = self.warp_rows // fragments.rows, self.warp_columns // fragments.columns
        return down * across + centered.fragments(down, across)

    def held_pieces(self, fragments: Fragments) -> int:
        """Pieces of a step's depth, of a fragment each, of which registers are held at once: one is multiplied, the
        other is on its way from shared memory, unless compilers see to that, or a step has one alone."""
        return 1 if fragments.loads_move or self.warp_chunks == fragments.chunks else 2

    def registers(self, fragments: Fragments, machine: Gpu, centered: Centered = Centered()) -> int:
        """Of a thread, about: sums, fragments, chunks on their way, addresses."""
        down, across = self.warp_rows // fragments.rows, self.warp_columns // fragments.columns
        pieces = self.warp_chunks // fragments.chunks if fragments.loads_move else self.held_pieces(fragments)
        on_their_way = 0
        if not machine.copies_to_shared:
            words = self.loads * (self.rows + self.columns) * self.chunks * CHUNK_WORDS
            on_their_way = ceildiv(words, self.warps * machine.warp)
        sums = self.multiplied(fragments, centered) * fragments.sums
        return sums + pieces * (down + across) * fragments.words + on_their_way + 32


@dataclass(frozen=True)
class SharedTile:
    """A matrix in shared memory, lines of chunks, of which eight neighbours in a column lie in different banks.

    Of a chunk's number the last bits are exchanged by those of its line (a swizzle), so no room is lost. They are as
    many as stay within the line: lines of 12 chunks begin in two groups of banks, and four chunks change places.
    """

    lines: int
    chunks: int
    base: int = 0
    """The word at which it begins."""

    @property
    def words(self) -> int:
        """Of one stage."""
        return self.lines * self.chunks * CHUNK_WORDS

    def place(self, stage: Expr, line: Expr, chunk: Expr) -> Expr:
        """The word at which a chunk begins."""
        spread = math.gcd(self.chunks, BANKED_CHUNKS)
        key = tirx.floormod(tirx.floordiv(line, BANKED_CHUNKS // spread), spread)
        moved = tirx.bitwise_xor(chunk, key)
        return stage * self.words + ((line * self.chunks + moved) * CHUNK_WORDS + self.base)


@dataclass(frozen=True)
class Strip:
    """The sums of a warp's fragments side by side, in shared memory, on their way to those who store them."""

    rows: int
    columns: int
    stride: int
    """Of its rows, in words: those that lanes write together go to different banks."""

    @staticmethod
    def of(tiling: Tiling, fragments: Sums) -> Strip:
        columns = tiling.warp_columns
        return Strip(fragments.rows, columns, columns + 4 * fragments.run)

    @property
    def words(self) -> int:
        return self.rows * self.stride


SHAPES = (
    (128, 128, 2, 2, 1),
    (256, 128, 4, 2, 1),
    (128, 256, 2, 4, 1),
    (192, 128, 4, 2, 1),
    (256, 64, 4, 1, 1),
    (64, 192, 2, 2, 1),
    (96, 128, 1, 4, 1),
    (128, 64, 2, 2, 1),
    (128, 64, 2, 1, 2),
    (64, 128, 2, 2, 1),
    (96, 64, 2, 2, 1),
    (96, 64, 2, 1, 1),
    (64, 96, 2, 1, 2),
    (64, 64, 2, 2, 1),
    (64, 64, 1, 2, 1),
    (64, 64, 2, 1, 2),
    (48, 64, 1, 1, 4),
    (48, 64, 1, 2, 2),
    (128, 32, 4, 1, 1),
    (32, 128, 1, 4, 1),
    (32, 64, 2, 2, 1),
    (64, 32, 4, 1, 1),
    (48, 32, 1, 1, 4),
    (48, 32, 1, 1, 2),
    (32, 32, 2, 1, 1),
    (32, 32, 2, 1, 2),
    (16, 128, 1, 4, 1),
    (16, 64, 1, 2, 1),
    (16, 32, 1, 1, 4),
    (16, 32, 1, 1, 2),
)
"""Rows and columns of a block's tile, how many warps share them out, and in how many slices of the depth. With other
sizes than powers of two there is one that leaves few multiprocessors idle. A warp has multiples of 32 columns, so that
eight threads read sums of one row: those of two would lie in the same banks."""
CHUNKS = (4, 8, 16, 32)
SHORT = 2
"""For fragments of one chunk, of which lanes have many registers."""
STAGES = (4, 3, 2)
"""Where the estimate is the same, more steps on their way bear more of what it does not know."""
LOADS = (2, 1)
"""The same of steps that are loaded to registers."""
