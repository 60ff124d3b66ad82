"""Fragments of AMD's WMMA, of wavefronts of 32 (RDNA 3 and RDNA 4 ISA guides, "Wave Matrix Multiply Accumulate").

A lane has elements of one line, its number modulo 16. In RDNA 3 it has all 16 of them, and both halves of the wavefront
have the same; in RDNA 4 each half has 8. The types of the operands, with which LLVM's names end, tell which.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from tvm import tirx
from tvm.ir import Expr
from tvm.tirx.script.builder import ir as T

from dsc.targets.gpu.matrix.fragments import CHUNK_BYTES, ChunkPlace, vector_load
from dsc.targets.machine import MultiplyAdd
from dsc.targets.tir.loops import Loops

SIZE = 16
_NAME = re.compile(r"llvm\.amdgcn\.wmma\.f32\.16x16x16\.b?f16\.v8f32\.v(?P<elements>8|16)(?P<type>f16|i16)")
_TYPES = {"f16": "float16", "i16": "int16"}
_WORDS = CHUNK_BYTES // 4


def wmma(row: MultiplyAdd) -> Wmma | None:
    """The fragments of an instruction, if it is one of these."""
    found = _NAME.fullmatch(row.intrinsic or "")
    return None if found is None else Wmma(row.intrinsic or "", _TYPES[found["type"]], int(found["elements"]))


@dataclass(frozen=True)
class Wmma:
    """See `Fragments`."""

    name: str
    """Of the instruction."""
    operand: str
    elements: int
    """Of each operand that a lane has."""
    rows: int = SIZE
    columns: int = SIZE
    chunks: int = 2
    word: str = "float32"
    sums: int = 8
    loads_move: bool = True
    run: int = 1
    load_transposed: None = None

    @property
    def words(self) -> int:
        return self.elements // 2

    @property
    def repeated(self) -> bool:
        """Whether both halves of the wavefront have the same operands."""
        return self.elements == SIZE

    @property
    def right(self) -> Wmma:
        """Both operands are loaded alike."""
        return self

    def load(self, lane: Expr, to: tirx.Buffer, at: Expr, shared: tirx.Buffer, place: ChunkPlace) -> None:
        """Both chunks, or one in each half of the wavefront."""
        line, half = tirx.floormod(lane, SIZE), tirx.floordiv(lane, SIZE)
        for chunk in range(self.words // _WORDS):
            number = tirx.const(chunk, str(half.expr_ty())) if self.repeated else half
            vector_load(to, at + chunk * _WORDS, shared, place(line, number))

    def multiply(self, sums: tirx.Buffer, at: Expr, a: tirx.Buffer, a_at: Expr, b: tirx.Buffer, b_at: Expr) -> None:
        """One instruction."""
        span, dtype = Loops().span, f"{self.operand}x{self.elements}"
        left, right = (tirx.reinterpret(dtype, r[span(first, self.words)]) for r, first in ((a, a_at), (b, b_at)))
        accumulated = span(at, self.sums)
        added = tirx.call_llvm_pure_intrin(f"float32x{self.sums}", self.name, left, right, sums[accumulated])
        T.buffer_store(sums, added, [accumulated])

    def position(self, lane: Expr, register: int) -> tuple[Expr, Expr]:
        """In RDNA 3 the halves of the wavefront have rows in turn, in RDNA 4 the upper and the lower ones."""
        half, column = tirx.floordiv(lane, SIZE), tirx.floormod(lane, SIZE)
        return (half + 2 * register if self.repeated else half * self.sums + register), column
