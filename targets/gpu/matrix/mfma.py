"""Fragments of AMD's matrix cores (MFMA, of wavefronts of 64; CDNA 3 ISA guide, "Matrix Arithmetic Instructions"; AMD
Matrix Instruction Calculator).

A lane has elements of one line, its number modulo the lines, at a depth that depends on which of the groups of as many
lanes it is in. Which depth that is does not matter as long as both operands agree: so each lane reads 16 bytes of its
line at once, and gives them to one instruction after the other.
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

LANES = 64
_NAME = re.compile(r"llvm\.amdgcn\.mfma\.(?:f32|i32)\.\d+x\d+x\d+\.?(?P<type>f16|bf16\.1k|xf32|f32|i8)")
_TYPES = {"f16": ("float16", 2), "bf16.1k": ("int16", 2), "xf32": ("float32", 4), "f32": ("float32", 4)}
"""As LLVM has the operands, and bytes of an element; those of bytes are one number."""


def mfma(row: MultiplyAdd) -> Mfma | None:
    """The fragments of an instruction, if it is one of these."""
    found = _NAME.fullmatch(row.intrinsic or "")
    if found is None or row.m != row.n or row.m not in (16, 32):
        return None
    elements = row.k * row.m // LANES
    if found["type"] == "i8":
        return Mfma(row.intrinsic or "", row.m, f"int{8 * elements}", elements // 4, row.accumulator)
    operand, size = _TYPES[found["type"]]
    given = operand if elements == 1 else f"{operand}x{elements}"
    return Mfma(row.intrinsic or "", row.m, given, elements * size // 4, row.accumulator)


@dataclass(frozen=True)
class Mfma:
    """See `Fragments`."""

    name: str
    """Of the instruction."""
    size: int
    """Rows, and columns."""
    operand: str
    """What a lane gives to one instruction of each operand, as LLVM has it."""
    width: int
    """The same, in words."""
    accumulator: str
    words: int = CHUNK_BYTES // 4
    word: str = "float32"
    loads_move: bool = True
    run: int = 1
    load_transposed: None = None
    interleaved: None = None
    order: None = None

    @property
    def rows(self) -> int:
        return self.size

    @property
    def columns(self) -> int:
        return self.size

    @property
    def chunks(self) -> int:
        """One for each group of lanes."""
        return LANES // self.size

    @property
    def sums(self) -> int:
        return self.size * self.size // LANES

    @property
    def right(self) -> Mfma:
        """Both operands are loaded alike."""
        return self

    def load(self, lane: Expr, to: tirx.Buffer, at: Expr, shared: tirx.Buffer, place: ChunkPlace) -> None:
        """16 bytes."""
        vector_load(to, at, shared, place(tirx.floormod(lane, self.size), tirx.floordiv(lane, self.size)))

    def multiply(self, sums: tirx.Buffer, at: Expr, a: tirx.Buffer, a_at: Expr, b: tirx.Buffer, b_at: Expr) -> None:
        """One instruction for each part of what a lane has."""
        span, width, result = Loops().span, self.width, f"{self.accumulator}x{self.sums}"
        accumulated, none = span(at, self.sums), [tirx.const(0, "int32")] * 3
        for first in range(0, self.words, width):
            left = tirx.reinterpret(self.operand, a[span(a_at + first, width)])
            right = tirx.reinterpret(self.operand, b[span(b_at + first, width)])
            added = tirx.call_llvm_pure_intrin(result, self.name, left, right, sums[accumulated], *none)
            T.buffer_store(sums, added, [accumulated])

    def position(self, lane: Expr, register: int) -> tuple[Expr, Expr]:
        """Four rows one below the other, then those of the other groups."""
        group = tirx.floordiv(lane, self.size)
        row = register // 4 * (4 * self.chunks) + register % 4
        return group * 4 + row, tirx.floormod(lane, self.size)

    def held(self, lane: Expr, element: int, chunk: int) -> tuple[Expr, Expr]:
        """One chunk of a line."""
        return tirx.floormod(lane, self.size), tirx.floordiv(lane, self.size) * chunk + element

    def round_operand(self, to: tirx.Buffer, at: Expr) -> None:
        """Nothing: the instruction takes float32 as it is."""
