"""The points of the design space: how a block of threads shares out queries and keys."""

from __future__ import annotations

from dataclasses import dataclass

from dsc.lower.exprs import ceildiv
from dsc.targets.gpu.machine import Gpu
from dsc.targets.gpu.matrix.tiling import BANKED_CHUNKS, CHUNK_WORDS, REGISTERS_PLANNED, WORD_BYTES
from dsc.targets.gpu.matrix_attention.chain import Chain


@dataclass(frozen=True)
class Blocking:
    """Queries of one head that a block has, and keys that it looks at together."""

    instruction: str
    """The intrinsic that multiplies."""
    warps: int
    """Of a block. Each has queries of its own."""
    down: int
    """Matrices of sums of a warp, one below the other: its queries."""
    keys: int
    """Of a step."""
    stages: int
    """Steps whose keys and values are in shared memory at once: one is computed with, the others are on their way."""


@dataclass(frozen=True)
class Shape:
    """What a point makes of heads of some depth and width."""

    blocking: Blocking
    chain: Chain
    head: int
    """Elements of a query, and of a key."""
    result: int
    """Elements of a value."""
    transposed: bool
    """Whether lines of values in shared memory are keys."""

    @property
    def warp_queries(self) -> int:
        return self.blocking.down * self.chain.lines

    @property
    def queries(self) -> int:
        """Of a block."""
        return self.blocking.warps * self.warp_queries

    @property
    def depth(self) -> int:
        """Of the first product: that of whole operands."""
        return ceildiv(self.head, self.chain.depth) * self.chain.depth

    @property
    def width(self) -> int:
        """Of the result: that of whole matrices of sums."""
        return ceildiv(self.result, self.chain.across) * self.chain.across

    @property
    def head_chunks(self) -> int:
        """Of a line of queries or keys in shared memory."""
        return _banked(self.depth // self.chain.chunk)

    @property
    def value_lines(self) -> int:
        """Elements of the result that values in shared memory have."""
        return _banked(ceildiv(self.width, self.chain.chunk)) * self.chain.chunk if self.transposed else self.width

    @property
    def value_chunks(self) -> int:
        """Of the values of a step."""
        return self.value_lines * self.blocking.keys // self.chain.chunk

    @property
    def staged_words(self) -> int:
        """Of the keys and the values of all stages."""
        return self.blocking.stages * (self.blocking.keys * self.head_chunks + self.value_chunks) * CHUNK_WORDS

    @property
    def strip_stride(self) -> int:
        """Between the lines of a strip (see `dsc.targets.gpu.matrix_attention.results`), in words: those that lanes
        write together go to different banks."""
        count, apart = self.chain.sharers
        together = count * self.chain.run if apart == 1 else self.chain.run
        return ceildiv(self.width, 32) * 32 + max(together, 4)

    @property
    def shared_bytes(self) -> int:
        """Of a block: queries, keys and values, and after them in the same place the results of its warps."""
        queries = self.queries * self.head_chunks * CHUNK_WORDS
        strips = self.blocking.warps * self.chain.lines * self.strip_stride
        return max(queries + self.staged_words, strips) * WORD_BYTES

    def registers(self, threads: int) -> int:
        """Of a thread, about: queries, scores, results, operands, chunks on their way, addresses."""
        fragments, blocking = self.chain.fragments, self.blocking
        scores, results = blocking.keys // self.chain.across, self.width // self.chain.across
        sums = blocking.down * (scores + results) * fragments.sums
        queries = blocking.down * (self.depth // self.chain.depth) * fragments.words
        on_their_way = ceildiv((blocking.keys * self.head_chunks + self.value_chunks) * CHUNK_WORDS, threads)
        multiplied = FRAGMENTS_AHEAD if fragments.loads_move else FRAGMENTS
        return sums + queries + on_their_way + multiplied * fragments.words + 40

    def suits(self, machine: Gpu) -> bool:
        """Whether steps are whole operands and matrices of sums, threads have as many chunks as one another, and a
        block is no more than the machine gives it."""
        threads = self.blocking.warps * machine.warp
        chunks = (self.queries * self.head_chunks, self.blocking.keys * self.head_chunks, self.value_chunks)
        return (
            self.blocking.keys % self.chain.unit == 0
            and all(count % threads == 0 for count in chunks)
            and threads <= machine.max_threads
            and self.shared_bytes <= machine.most_shared_bytes
            and self.registers(threads) <= REGISTERS_PLANNED * machine.registers_per_thread
        )


def _banked(chunks: int) -> int:
    """The next number of chunks whose swizzle stays in a line (`SharedTile`): a power of two, or of whole groups."""
    if chunks >= BANKED_CHUNKS:
        return ceildiv(chunks, BANKED_CHUNKS) * BANKED_CHUNKS
    return 1 << (chunks - 1).bit_length()


FRAGMENTS, FRAGMENTS_AHEAD = 4, 8
"""Of keys or values that are in registers at once; more, where compilers load them ahead of their products."""
WARPS = (4, 8, 2, 1)
DOWN = (1, 2)
KEYS = (64, 32, 128, 16)
STAGES = (2, 3)
