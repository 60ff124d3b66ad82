"""Halves by ``mma.sync``: ldmatrix reads eight lines at once, each from an address of its own, and transposes what lies
from row to row; so gathering costs nothing but knowing the lines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from tvm import tirx
from tvm.ir import Expr
from tvm.tirx.script.builder import ir as T

from dsc.lower.exprs import simplify
from dsc.targets.gpu.matrix.fragments import ChunkPlace
from dsc.targets.gpu.matrix.mma_sync import MmaSync, interleaved_column
from dsc.targets.gpu.matrix.side import PAIR
from dsc.targets.gpu.sparse.gathering import Weights
from dsc.targets.gpu.sparse.narrow import Narrow

WARP = 32
"""Lanes."""
CHUNK = 8
"""Halves of a chunk."""
INSTRUCTIONS = 24
"""Weights and lines of the next fragment, where its lines are, the loop."""
INPUT_INSTRUCTIONS = 6
"""To load a fragment of inputs: where it is."""


@dataclass(frozen=True)
class TensorCores(Narrow):
    """See `Gathering`."""

    fragments: MmaSync
    """With columns interleaved: weights are packed in any order, and lanes have four neighbours of a row then."""
    per_word: int = PAIR
    parts: int = 1
    known: int = 1
    instructions: int = INSTRUCTIONS
    input_instructions: int = INPUT_INSTRUCTIONS
    neighbours: int = 1

    @property
    def name(self) -> str:
        return self.fragments.name

    @property
    def rows(self) -> int:
        return self.fragments.rows

    @property
    def sums(self) -> int:
        return self.fragments.sums

    @property
    def inputs(self) -> int:
        return self.fragments.words

    @cached_property
    def layout(self) -> Sequence[int]:
        """Lane by lane, as the right operand's registers are."""
        return tuple(self._weight(lane, element) for lane in range(WARP) for element in range(PAIR * self.words))

    def _weight(self, lane: int, element: int) -> int:
        line, slot = self.fragments.held(tirx.const(lane, "int32"), element, CHUNK)
        column = simplify(interleaved_column(line))
        found = simplify(slot), column
        assert isinstance(found[0], int) and isinstance(column, int)  # noqa: PT018 - of a lane that is known
        return found[0] * self.columns + column

    @property
    def order(self) -> Sequence[int]:
        """A matrix of ldmatrix is eight slots."""
        return range(self.deep)

    def slots(self, lane: Expr, part: int) -> Sequence[Expr]:
        """Of the four matrices, lanes 0 to 7 give lines of the first slots, so do 8 to 15; the others of the rest."""
        return [tirx.floordiv(lane, 2 * CHUNK) * CHUNK + tirx.floormod(lane, CHUNK)]

    def position(self, lane: Expr, register: int) -> tuple[Expr, Expr]:
        """That of the instruction."""
        return self.fragments.position(lane, register)

    def multiply(
        self, sums: tirx.Buffer, at: Expr, lane: Expr, shared: tirx.Buffer, place: ChunkPlace, row: Expr,
        weights: Weights,
    ) -> None:  # fmt: skip
        """A pair of instructions, or of those that have less depth."""
        line, chunk = weights.line(0), tirx.floordiv(row, CHUNK)
        values = T.alloc_buffer((self.inputs,), self.word, scope="local")
        zero = tirx.const(0, str(lane.expr_ty()))
        load = self.fragments.load_transposed
        assert load is not None  # elements are halves
        # The line of the slot that this lane is asked for is in a register already.
        load(lane, values, zero, shared, lambda _, across: place(line, chunk + across))
        self.fragments.multiply(sums, at, values, zero, weights.weights, tirx.const(weights.first, str(lane.expr_ty())))
