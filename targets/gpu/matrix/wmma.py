"""Fragments of AMD's WMMA, of wavefronts of 32 (RDNA 3 and RDNA 4 ISA guides, "Wave Matrix Multiply Accumulate").

A lane has elements of one line, its number modulo 16. In RDNA 3 it has all 16 of them, and both halves of the wavefront
have the same; in RDNA 4 each half has 8. The types of the operands, with which LLVM's names end, tell which. In RDNA 4
that is 8 bytes of bytes: of the 16 that a lane reads, it gives them to one instruction after the other.
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
_NAME = re.compile(r"llvm\.amdgcn\.wmma\.[fi]32\.16x16x16\.\w+\.v8[fi]32\.v(?P<count>\d+)(?P<type>f16|i16|i32)")
_TYPES = {"f16": ("float16", 2), "i16": ("int16", 2), "i32": ("int32", 1)}
"""As LLVM has the operands, and bytes of an element: of bytes, four are one number."""
_WORDS = CHUNK_BYTES // 4


def wmma(row: MultiplyAdd) -> Wmma | None:
    """The fragments of an instruction, if it is one of these."""
    found = _NAME.fullmatch(row.intrinsic or "")
    if found is None:
        return None
    (operand, size), count = _TYPES[found["type"]], int(found["count"])
    elements = count * (4 if size == 1 else 1)
    signs = (row.a == "int8", row.b == "int8") if size == 1 else None
    return Wmma(
        row.intrinsic or "", f"{operand}x{count}", elements * size // 4, elements == SIZE, row.accumulator, signs
    )


@dataclass(frozen=True)
class Wmma:
    """See `Fragments`."""

    name: str
    """Of the instruction."""
    operand: str
    """What a lane gives to one instruction of each operand, as LLVM has it."""
    width: int
    """The same, in words."""
    repeated: bool
    """Whether both halves of the wavefront have the same operands."""
    accumulator: str
    signs: tuple[bool, bool] | None
    """Of bytes, whether those of either operand are signed."""
    rows: int = SIZE
    columns: int = SIZE
    word: str = "float32"
    sums: int = 8
    loads_move: bool = True
    run: int = 1
    load_transposed: None = None
    interleaved: None = None
    order: None = None

    @property
    def words(self) -> int:
        """Of one chunk at least."""
        return max(self.width, _WORDS)

    @property
    def chunks(self) -> int:
        """Those that a lane has, or one in each half of the wavefront."""
        return self.words // _WORDS if self.repeated else 2

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
        """One instruction for each part of what a lane has."""
        span, result = Loops().span, f"{self.accumulator}x{self.sums}"
        accumulated = span(at, self.sums)
        for first in range(0, self.words, self.width):
            left = tirx.reinterpret(self.operand, a[span(a_at + first, self.width)])
            right = tirx.reinterpret(self.operand, b[span(b_at + first, self.width)])
            given = [left, right, sums[accumulated]]
            if self.signs is not None:  # they come before their operands; the last one saturates
                of_a, of_b = (tirx.const(sign, "bool") for sign in self.signs)
                given = [of_a, left, of_b, right, sums[accumulated], tirx.const(False, "bool")]
            T.buffer_store(sums, tirx.call_llvm_pure_intrin(result, self.name, *given), [accumulated])

    def position(self, lane: Expr, register: int) -> tuple[Expr, Expr]:
        """In RDNA 3 the halves of the wavefront have rows in turn, in RDNA 4 the upper and the lower ones."""
        half, column = tirx.floordiv(lane, SIZE), tirx.floormod(lane, SIZE)
        return (half + 2 * register if self.repeated else half * self.sums + register), column

    def held(self, lane: Expr, element: int, chunk: int) -> tuple[Expr, Expr]:
        """All of a line, or the chunk of a half of the wavefront."""
        line, half = tirx.floormod(lane, SIZE), tirx.floordiv(lane, SIZE)
        return line, tirx.const(element, "int32") if self.repeated else half * chunk + element

    def round_operand(self, to: tirx.Buffer, at: Expr) -> None:
        """Nothing: elements are halves."""
