"""``mma.sp``: 16 rows of a left operand of which two of each four neighbours in depth are there, by 8 columns (PTX ISA
9.0, "Warp-level matrix instructions for sparse mma").

The left operand is the weight, so results are outputs by rows. Registers of it are those of a dense operand of half the
depth. Metadata has two bits for each element, eight elements of the rows ``g`` and ``g + 8`` in a word; a pair of the
four lanes of a row gives it, and a selector says which. So a word of each lane serves two instructions.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from tvm import tirx
from tvm.ir import Expr
from tvm.tirx.script.builder import ir as T

from dsc.targets.gpu.matrix.fragments import ChunkPlace
from dsc.targets.machine import MultiplyAdd

DEPTH = 32
"""Of one instruction, in which half is there."""
PAIR = 2
"""Instructions that share a word of metadata."""
WORDS = 4
"""Registers of either operand, for an instruction."""
_NAME = re.compile(rf"mma\.sp::ordered_metadata\.sync\.aligned\.m16n8k{DEPTH}\.row\.col\.f32\.(f16|bf16)\.\1\.f32")
_LOAD = "ldmatrix.sync.aligned.m8n8.x4.shared.b16"


@dataclass(frozen=True)
class MmaSparse:
    """16 outputs by 16 rows, by two instructions one beside the other. Rows of the left operand are outputs in turns of
    the upper and the lower eight: so a lane's two are neighbours."""

    name: str
    rows: int = 16
    """Of the result: those of the dense factor."""
    columns: int = 16
    sums: int = 8
    run: int = 2
    accumulator: str = "float32"
    parts: int = 1
    words: int = PAIR * WORDS + 1
    """Registers of a lane for a pair of instructions' weights and their metadata."""
    known: int = 0
    inputs: int = PAIR * WORDS
    """Registers of a lane for a fragment of the dense factor."""

    def position(self, lane: Expr, register: int) -> tuple[Expr, Expr]:
        """Row and column of a sum."""
        right, inside = divmod(register, 4)
        beside, lower = divmod(inside, 2)
        return tirx.floormod(lane, 4) * 2 + (8 * right + beside), tirx.floordiv(lane, 4) * 2 + lower

    def load(self, lane: Expr, to: tirx.Buffer, at: Expr, shared: tirx.Buffer, place: ChunkPlace) -> None:
        """16 rows of the dense factor, four chunks each: of eight rows after the other."""
        for half in range(2):
            registers = [to[at + half * WORDS + i] for i in range(WORDS)]
            word = place(tirx.floormod(lane, 8) + 8 * half, tirx.floordiv(lane, 8))
            T.evaluate(T.ptx[_LOAD](*registers, tirx.address_of(shared[word])))

    def multiply(
        self, sums: tirx.Buffer, at: Expr, weights: tirx.Buffer, which: int, metadata: Expr, inputs: tirx.Buffer,
        inputs_at: Expr,
    ) -> None:  # fmt: skip
        """Adds the products of the `which`-th of a pair to the sums."""
        left = [weights[which * WORDS + i] for i in range(WORDS)]
        for half in range(2):
            right = [inputs[inputs_at + half * WORDS + i] for i in range(WORDS)]
            d = [sums[at + half * 4 + i % 2 * 2 + i // 2] for i in range(4)]
            T.evaluate(T.ptx[self.name](*d, *left, *right, *d, metadata, which))


def mma_sparse(row: MultiplyAdd) -> MmaSparse | None:
    """The instruction, if it is one of these."""
    return MmaSparse(row.intrinsic) if row.intrinsic is not None and _NAME.fullmatch(row.intrinsic) else None
