"""Fragments of ``mma.sync``: 16 rows and 16 columns, by pairs of instructions (PTX ISA 9.0, "Matrix Fragments for
mma.m16n8k16 with floating point type", "Matrix Fragments for mma.m16n8k32", "ldmatrix").

One ldmatrix reads four matrices of 8 lines by 16 bytes, of which every lane gets 4 bytes: lane ``l`` those at ``4 * (l
% 4)`` of line ``l // 4``. Those 16 lines of 32 bytes are an operand of 16 rows, or of two times 8 columns, whatever the
type of the elements. Instructions of 8 rows, which Turing has for bytes, are two for one of 16.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import product

from tvm import tirx
from tvm.ir import Expr
from tvm.tirx.script.builder import ir as T

from dsc.targets.gpu.matrix.fragments import CHUNK_BYTES, ChunkPlace, Load
from dsc.targets.machine import MultiplyAdd

_NAME = re.compile(r"mma\.sync\.aligned\.m(?:16|8)n8k\d+\.row\.col\.(?:f32|s32)\.(?P<type>f16|bf16|tf32|s8|u8)\..*")
_BYTES = {"f16": 2, "bf16": 2, "tf32": 4, "s8": 1, "u8": 1}
_LOAD = "ldmatrix.sync.aligned.m8n8.x4.shared.b16"
_LOAD_TRANSPOSED = "ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16"


def place_of_sum(lane: Expr, register: int) -> tuple[Expr, Expr]:
    """Row and column of one of a lane's eight sums of 16 rows and columns: two neighbours each in rows 8 apart, of the
    first 8 columns and of the second."""
    half, below, right = register // 4, register // 2 % 2, register % 2
    return tirx.floordiv(lane, 4) + 8 * below, tirx.floormod(lane, 4) * 2 + (8 * half + right)


def place_of_interleaved(lane: Expr, register: int) -> tuple[Expr, Expr]:
    """The same where columns are interleaved (see `interleaved_column`): four neighbours each in rows 8 apart."""
    below, right = divmod(register, 4)
    return tirx.floordiv(lane, 4) + 8 * below, tirx.floormod(lane, 4) * 4 + right


def interleaved_column(line: Expr) -> Expr:
    """The column of the result that a line of the right operand is, where those of a pair of instructions are two
    neighbours of one and two of the other in turn: a lane, which has two of either, then has four neighbours."""
    of_pairs, pair = tirx.floordiv(line, 16) * 16, tirx.floormod(tirx.floordiv(line, 2), 4)
    return of_pairs + pair * 4 + tirx.floormod(tirx.floordiv(line, 8), 2) * 2 + tirx.floormod(line, 2)


def mma_sync(row: MultiplyAdd) -> MmaSync | None:
    """The fragments of an instruction, if it is one of these."""
    found = _NAME.fullmatch(row.intrinsic or "")
    if found is None:
        return None
    size = _BYTES[found["type"]]
    steps = 2 * CHUNK_BYTES // (size * row.k)
    return MmaSync(row.intrinsic or "", row.m, steps, size, "uint32" if row.accumulator == "int32" else row.accumulator)


@dataclass(frozen=True)
class MmaSync:
    """See `Fragments`."""

    name: str
    """Of the instruction."""
    tall: int
    """Rows of the instruction: 16 or 8."""
    steps: int
    """Instructions for the depth of a fragment."""
    element_bytes: int
    accumulator: str
    """uint32 for int32, as TVM declares these registers."""
    rows: int = 16
    columns: int = 16
    chunks: int = 2
    words: int = 4
    word: str = "uint32"
    sums: int = 8
    loads_move: bool = False
    run: int = 2
    by_columns: bool = False
    """Whether ldmatrix gives the two matrices of 8 lines after one another, not those of a chunk: the instruction takes
    its right operand from a pair of neighbouring registers, which compilers otherwise have to move there."""
    is_interleaved: bool = False
    """Whether lines of the right operand are columns in the order of `interleaved_column`."""

    @property
    def right(self) -> MmaSync:
        """Loads into the same places of the array, from another order of registers."""
        return replace(self, by_columns=True)

    @property
    def interleaved(self) -> MmaSync:
        """Four neighbours in a row instead of two."""
        return replace(self, is_interleaved=True, run=4)

    @property
    def order(self) -> Callable[[Expr], Expr] | None:
        """See `interleaved_column`."""
        return interleaved_column if self.is_interleaved else None

    @property
    def rounds(self) -> bool:
        """Whether operands are float32, to be rounded to tf32."""
        return self.element_bytes == _BYTES["tf32"]

    def load(self, lane: Expr, to: tirx.Buffer, at: Expr, shared: tirx.Buffer, place: ChunkPlace) -> None:
        """Matrices in the order: lines 0 to 7, lines 8 to 15, then the second chunk of these."""
        lane = self._ordered(lane)
        self._load(_LOAD, to, at, shared, place(tirx.floormod(lane, 16), tirx.floordiv(lane, 16)))
        self.round_operand(to, at)

    def round_operand(self, to: tirx.Buffer, at: Expr) -> None:
        """float32 to tf32, ties away from 0; halves are what they are."""
        if self.rounds:
            for i in range(self.words):
                single = tirx.reinterpret("float32", to[at + i])
                T.evaluate(T.ptx["cvt.rna.tf32.f32"](to[at + i], single))

    @property
    def load_transposed(self) -> Load | None:
        """ldmatrix transposes elements of 16 bits, no others."""
        return self._load_transposed if self.element_bytes == _BYTES["f16"] else None

    def _load_transposed(self, lane: Expr, to: tirx.Buffer, at: Expr, shared: tirx.Buffer, place: ChunkPlace) -> None:
        """Matrices in the same order: lines of memory are 8 steps of depth, chunks are 8 lines of the operand."""
        lane = self._ordered(lane)
        step = tirx.floordiv(lane, 16) * 8 + tirx.floormod(lane, 8)
        self._load(_LOAD_TRANSPOSED, to, at, shared, place(step, tirx.floormod(tirx.floordiv(lane, 8), 2)))

    def _ordered(self, lane: Expr) -> Expr:
        """The lane that says where a line of a matrix is, were they in the order of `load`: the second group of eight
        is the third one, and the third the second, where they are by columns."""
        if not self.by_columns:
            return lane
        low, high = tirx.floormod(tirx.floordiv(lane, 8), 2), tirx.floordiv(lane, 16)
        return low * 16 + high * 8 + tirx.floormod(lane, 8)

    def _load(self, name: str, to: tirx.Buffer, at: Expr, shared: tirx.Buffer, word: Expr) -> None:
        registers = [to[at + i] for i in ((0, 2, 1, 3) if self.by_columns else range(self.words))]
        T.evaluate(T.ptx[name](*registers, tirx.address_of(shared[word])))

    def multiply(self, sums: tirx.Buffer, at: Expr, a: tirx.Buffer, a_at: Expr, b: tirx.Buffer, b_at: Expr) -> None:
        """Of each instruction, `a` has 16 rows, that is pairs of matrices, or 8, and `b` 8 columns."""
        words, parts = self.words // self.steps, self.rows // self.tall
        for step, down, half in product(range(self.steps), range(parts), range(2)):
            first, end = step * words, (step + 1) * words
            left = [a[a_at + i] for i in range(first + down, end, parts)]
            right = [b[b_at + i] for i in range(first + half, end, 2)]
            d = [sums[at + self._register(half, i)] for i in range(down * 2, 4 if parts == 1 else down * 2 + 2)]
            T.evaluate(T.ptx[self.name](*d, *left, *right, *d))

    def _register(self, half: int, i: int) -> int:
        """That of a sum of one of the two instructions: its first two are a row above the others."""
        return i // 2 * 4 + half * 2 + i % 2 if self.is_interleaved else half * 4 + i

    def position(self, lane: Expr, register: int) -> tuple[Expr, Expr]:
        """See `place_of_sum`."""
        return (place_of_interleaved if self.is_interleaved else place_of_sum)(lane, register)

    def held(self, lane: Expr, element: int, chunk: int) -> tuple[Expr, Expr]:
        """Of each word, neighbours in depth; words are of the four matrices, in the order of `load`."""
        per_word = chunk // 4
        word, part = divmod(element, per_word)
        depth = tirx.floormod(lane, 4) * per_word + (word // 2 * chunk + part)
        return tirx.floordiv(lane, 4) + 8 * (word % 2), depth
