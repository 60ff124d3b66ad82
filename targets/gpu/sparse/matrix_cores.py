"""Halves by AMD's matrix instructions (MFMA, WMMA), whose lanes have several inputs of one row.

Memory that is read from row to row has no such neighbours, and nothing transposes on the way. So a lane reads words, of
two rows at one input, and has two fragments of them in the end: of even rows, and of odd ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from tvm import tirx
from tvm.ir import Expr
from tvm.tirx.script.builder import ir as T

from dsc.lower.exprs import simplify
from dsc.targets.gpu.matrix.fragments import ChunkPlace
from dsc.targets.gpu.matrix.side import PAIR, joined
from dsc.targets.gpu.matrix.tiling import CHUNK_WORDS
from dsc.targets.gpu.sparse.gathering import Weights
from dsc.targets.gpu.sparse.halves import CHUNK, Halves

INDEX_INSTRUCTIONS = 6
"""For each input of a lane: the place of its line, the line of the next one."""


@dataclass(frozen=True)
class MatrixCores(Halves):
    """See `Gathering`."""

    name: str
    lanes: int
    parts: int = 1

    @property
    def rows(self) -> int:
        return PAIR * self.fragments.rows

    @property
    def sums(self) -> int:
        return PAIR * self.fragments.sums

    @property
    def elements(self) -> int:
        """Of an operand, that a lane has."""
        return PAIR * self.words

    @property
    def known(self) -> int:
        return self.elements

    @property
    def inputs(self) -> int:
        return 2 * self.elements

    @property
    def instructions(self) -> int:
        return self.elements * INDEX_INSTRUCTIONS

    def _held(self, lane: int) -> list[tuple[int, int]]:
        """Column and slot of the weights that a lane has."""
        found = [self.fragments.held(tirx.const(lane, "int32"), element, CHUNK) for element in range(self.elements)]
        return [(int(simplify(column)), int(simplify(slot))) for column, slot in found]

    @cached_property
    def layout(self) -> Sequence[int]:
        """Lane by lane, as the operand's registers are."""
        held = [each for lane in range(self.lanes) for each in self._held(lane)]
        return tuple(slot * self.columns + column for column, slot in held)

    @cached_property
    def order(self) -> Sequence[int]:
        """What lanes read at once is the same element of each."""
        slots = [[slot for _, slot in self._held(lane)] for lane in range(self.lanes)]
        return tuple(dict.fromkeys(of[element] for element in range(self.elements) for of in slots))

    def slots(self, lane: Expr, part: int) -> Sequence[Expr]:
        """Those of a lane's elements."""
        return [self.fragments.held(lane, element, CHUNK)[1] for element in range(self.elements)]

    def position(self, lane: Expr, register: int) -> tuple[Expr, Expr]:
        """Even rows, then odd ones."""
        is_odd, inside = divmod(register, self.fragments.sums)
        row, column = self.fragments.position(lane, inside)
        return row * PAIR + is_odd, column

    def multiply(
        self, sums: tirx.Buffer, at: Expr, lane: Expr, shared: tirx.Buffer, place: ChunkPlace, row: Expr,
        weights: Weights,
    ) -> None:  # fmt: skip
        """Both fragments."""
        pair, _ = self.fragments.held(lane, 0, CHUNK)
        number = T.Bind(tirx.floordiv(row, PAIR) + pair)
        chunk, inside = T.Bind(tirx.floordiv(number, CHUNK_WORDS)), T.Bind(tirx.floormod(number, CHUNK_WORDS))
        loaded = T.alloc_buffer((self.elements,), self.word, scope="local")
        for element in range(self.elements):
            T.buffer_store(loaded, shared[T.Bind(place(weights.line(element), chunk) + inside)], [element])
        values = T.alloc_buffer((self.words,), self.word, scope="local")
        zero, start = (tirx.const(value, str(lane.expr_ty())) for value in (0, weights.first))
        for which in range(PAIR):
            for word in range(self.words):
                T.buffer_store(values, joined(loaded[PAIR * word], loaded[PAIR * word + 1], which), [word])
            self.fragments.multiply(sums, at + which * self.fragments.sums, values, zero, weights.weights, start)
