"""``mma.sp``: 16 rows of a left operand of which two of each four neighbours in depth are there, by 8 columns (PTX ISA
9.0, "Warp-level matrix instructions for sparse mma").

The left operand is the weight, so results are outputs by rows. Registers of it are those of a dense operand of half the
depth. Metadata has two bits for each element. Of halves a word has eight elements of the rows ``g`` and ``g + 8``; a
pair of the four lanes of a row gives it, and a selector says which: so a word of each lane serves two instructions. Of
bytes it has sixteen of one row, and all four lanes give theirs.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from tvm import tirx
from tvm.ir import Expr
from tvm.tirx.script.builder import ir as T

from dsc.targets.gpu.matrix.fragments import ChunkPlace
from dsc.targets.machine import MultiplyAdd

WORDS = 4
"""Registers of either operand, for an instruction."""
_NAME = re.compile(
    r"mma\.sp::ordered_metadata\.sync\.aligned\.m16n8k(?:32\.row\.col\.f32\.(f16|bf16)\.\1\.f32"
    r"|64\.row\.col\.s32\.s8\.(?:s8|u8)\.s32)"
)
_LOAD = "ldmatrix.sync.aligned.m8n8.x4.shared.b16"


@dataclass(frozen=True)
class MmaSparse:
    """16 outputs by 16 rows, by two instructions one beside the other. Rows of the left operand are outputs in turns of
    the upper and the lower eight: so a lane's two are neighbours."""

    name: str
    depth: int
    """Of one instruction, in which half is there."""
    pair: int
    """Instructions that share a word of metadata: two of halves, one of bytes."""
    accumulator: str
    """uint32 for int32, as TVM declares these registers."""
    rows: int = 16
    """Of the result: those of the dense factor."""
    columns: int = 16
    sums: int = 8
    run: int = 2
    parts: int = 1
    known: int = 0

    @property
    def words(self) -> int:
        """Registers of a lane for the weights of instructions that share metadata, and that."""
        return self.pair * WORDS + 1

    @property
    def inputs(self) -> int:
        """Registers of a lane for a fragment of the dense factor."""
        return 2 * WORDS

    @property
    def per_word(self) -> int:
        """Elements of a register."""
        return self.depth // 16

    @property
    def deep(self) -> int:
        """Of what shares a word of metadata."""
        return self.pair * self.depth

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
    if row.intrinsic is None or not _NAME.fullmatch(row.intrinsic):
        return None
    of_bytes = row.accumulator == "int32"
    return MmaSparse(row.intrinsic, row.k, 1 if of_bytes else 2, "uint32" if of_bytes else row.accumulator)
