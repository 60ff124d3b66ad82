"""Fragments of instructions that add up four products of bytes in each lane (v_dot4), as those on matrices have them.

Lanes lie in a grid of 8 rows: each has four rows and four columns of a fragment, 8 and as many as the grid has columns
apart, of which it reads a chunk each.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product

from tvm import tirx
from tvm.ir import Expr
from tvm.tirx.script.builder import ir as T

from dsc.targets.gpu.matrix.fragments import CHUNK_BYTES, ChunkPlace, vector_load
from dsc.targets.machine import MultiplyAdd

DOWN = 8
"""Rows of the grid."""
EACH = 4
"""Rows, and columns, of a lane."""
_WORDS = CHUNK_BYTES // 4
_NAMES = ("llvm.amdgcn.sdot4", "llvm.amdgcn.udot4", "llvm.amdgcn.sudot4")


def dot(row: MultiplyAdd) -> Dot | None:
    """The fragments of an instruction, if it is one of these."""
    if row.intrinsic not in _NAMES:
        return None
    signs = (row.a == "int8", row.b == "int8") if row.intrinsic.endswith("sudot4") else None
    return Dot(row.intrinsic, row.n // DOWN, signs)


@dataclass(frozen=True)
class Dot:
    """See `Fragments`."""

    name: str
    """Of the instruction."""
    across: int
    """Columns of the grid of lanes."""
    signs: tuple[bool, bool] | None
    """Whether the bytes of either operand are signed, if the instruction is told."""
    is_right: bool = False
    """Whether it reads columns."""
    chunks: int = 1
    words: int = EACH * _WORDS
    word: str = "float32"
    accumulator: str = "int32"
    sums: int = EACH * EACH
    loads_move: bool = True
    run: int = 1
    load_transposed: None = None
    interleaved: None = None
    order: None = None

    @property
    def rows(self) -> int:
        return EACH * DOWN

    @property
    def columns(self) -> int:
        return EACH * self.across

    @property
    def right(self) -> Dot:
        return replace(self, is_right=True)

    def load(self, lane: Expr, to: tirx.Buffer, at: Expr, shared: tirx.Buffer, place: ChunkPlace) -> None:
        """A chunk of each of the lane's lines."""
        row, column = self._lane(lane)
        first, apart = (column, self.across) if self.is_right else (row, DOWN)
        for i in range(EACH):
            vector_load(to, at + i * _WORDS, shared, place(first + i * apart, tirx.const(0, str(lane.expr_ty()))))

    def multiply(self, sums: tirx.Buffer, at: Expr, a: tirx.Buffer, a_at: Expr, b: tirx.Buffer, b_at: Expr) -> None:
        """An instruction for each sum and word: those of one sum are far apart."""
        for word, i, j in product(range(_WORDS), range(EACH), range(EACH)):
            left = tirx.reinterpret("int32", a[a_at + i * _WORDS + word])
            right = tirx.reinterpret("int32", b[b_at + j * _WORDS + word])
            place = at + i * EACH + j
            given = self._operands(left, right, sums[place])
            T.buffer_store(sums, tirx.call_llvm_pure_intrin("int32", self.name, *given), [place])

    def _operands(self, left: Expr, right: Expr, total: Expr) -> Iterator[Expr]:
        """Signs come before their operands; the last one saturates."""
        for i, value in enumerate((left, right)):
            if self.signs is not None:
                yield tirx.const(self.signs[i], "bool")
            yield value
        yield from (total, tirx.const(False, "bool"))

    def position(self, lane: Expr, register: int) -> tuple[Expr, Expr]:
        """Rows and columns of a lane as they are loaded."""
        row, column = self._lane(lane)
        return row + register // EACH * DOWN, column + register % EACH * self.across

    def held(self, lane: Expr, element: int, chunk: int) -> tuple[Expr, Expr]:
        """A chunk of each of the lane's lines."""
        row, column = self._lane(lane)
        first, apart = (column, self.across) if self.is_right else (row, DOWN)
        return first + element // chunk * apart, tirx.const(element % chunk, str(lane.expr_ty()))

    def round_operand(self, to: tirx.Buffer, at: Expr) -> None:
        """Nothing: bytes are what they are."""

    def _lane(self, lane: Expr) -> tuple[Expr, Expr]:
        """Its place in the grid."""
        return tirx.floordiv(lane, self.across), tirx.floormod(lane, self.across)
