"""Halves by AMD's matrix instructions (MFMA, WMMA), and bytes by all instructions on matrices, whose lanes have several
inputs of one row in a register.

Memory that is read from row to row has no such neighbours, and nothing transposes on the way. So a lane reads words, of
as many rows at one input as a word has elements, and has as many fragments of them in the end: of halves, one of even
rows and one of odd ones.
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
from dsc.targets.gpu.matrix.mma_sync import MmaSync
from dsc.targets.gpu.matrix.side import gathered
from dsc.targets.gpu.matrix.tiling import CHUNK_WORDS
from dsc.targets.gpu.matrix.transport import WORD
from dsc.targets.gpu.sparse.gathering import Weights
from dsc.targets.gpu.sparse.narrow import Narrow

INDEX_INSTRUCTIONS = 6
"""For each input of a lane: the place of its line, the line of the next one."""


@dataclass(frozen=True)
class MatrixCores(Narrow):
    """See `Gathering`."""

    name: str
    lanes: int
    parts: int = 1
    neighbours: int = CHUNK_WORDS
    """Depth is in chunks, in a lane, of half as many elements at least."""

    @property
    def rows(self) -> int:
        return self.per_word * self.fragments.rows

    @property
    def sums(self) -> int:
        return self.per_word * self.fragments.sums

    @property
    def elements(self) -> int:
        """Of an operand, that a lane has."""
        return self.per_word * self.words

    @property
    def known(self) -> int:
        return len(self._first)

    @property
    def inputs(self) -> int:
        return 2 * self.elements

    @property
    def instructions(self) -> int:
        return self.known * INDEX_INSTRUCTIONS

    @property
    def input_instructions(self) -> int:
        """A load, where it is from, and turning: one permutation for a word of halves, two for one of bytes."""
        return self.elements * (2 + self.per_word // 2)

    def _held(self, lane: int) -> list[tuple[int, int]]:
        """Column and slot of the weights that a lane has."""
        order, at = self.fragments.order, tirx.const(lane, "int32")
        found = [self.fragments.right.held(at, element, self.chunk) for element in range(self.elements)]
        lines = [(line if order is None else order(line), slot) for line, slot in found]
        return [(int(simplify(column)), int(simplify(slot))) for column, slot in lines]

    @cached_property
    def _first(self) -> dict[int, int]:
        """The elements of a lane of the left factor that are the first ones of their slots, in order, by the slot that
        they are of in lane 0: which elements have one in common is the same in all lanes."""
        zero, found = tirx.const(0, "int32"), dict[int, int]()
        for element in range(self.elements):
            found.setdefault(int(simplify(self.fragments.held(zero, element, self.chunk)[1])), element)
        return found

    def _known_line(self, element: int) -> int:
        """Which of the lines that a lane knows an element is of."""
        slot = int(simplify(self.fragments.held(tirx.const(0, "int32"), element, self.chunk)[1]))
        return list(self._first).index(slot)

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
        return [self.fragments.held(lane, element, self.chunk)[1] for element in self._first.values()]

    def position(self, lane: Expr, register: int) -> tuple[Expr, Expr]:
        """The first rows of all words, then the others."""
        which, inside = divmod(register, self.fragments.sums)
        row, column = self.fragments.position(lane, inside)
        return row * self.per_word + which, column

    def _turn(self, loaded: tirx.Buffer, values: tirx.Buffer, word: int) -> None:
        """One element of each of the words that are loaded, of all fragments."""
        if isinstance(self.fragments, MmaSync):
            turned_bytes(loaded, [values[which * self.words + word] for which in range(self.per_word)])
            return
        for which in range(self.per_word):
            value = gathered([loaded[part] for part in range(self.per_word)], which)
            T.buffer_store(values, value, [which * self.words + word])

    def multiply(
        self, sums: tirx.Buffer, at: Expr, lane: Expr, shared: tirx.Buffer, place: ChunkPlace, row: Expr,
        weights: Weights,
    ) -> None:  # fmt: skip
        """All fragments."""
        loaded, values = (T.alloc_buffer((n,), self.word, scope="local") for n in (self.per_word, self.elements))
        for word in range(self.words):
            line, _ = self.fragments.held(lane, word * self.per_word, self.chunk)
            number = T.Bind(tirx.floordiv(row, self.per_word) + line)
            chunk, inside = T.Bind(tirx.floordiv(number, CHUNK_WORDS)), T.Bind(tirx.floormod(number, CHUNK_WORDS))
            for part in range(self.per_word):
                of_depth = weights.line(self._known_line(word * self.per_word + part))
                found = shared[T.Bind(place(of_depth, chunk) + inside)]
                T.buffer_store(loaded, found if self.word == WORD else tirx.reinterpret(self.word, found), [part])
            self._turn(loaded, values, word)
        zero, start = (tirx.const(value, str(lane.expr_ty())) for value in (0, weights.first))
        for which in range(self.per_word):
            first = zero + which * self.words
            self.fragments.multiply(sums, at + which * self.fragments.sums, values, first, weights.weights, start)


def turned_bytes(words: tirx.Buffer, to: Sequence[Expr]) -> None:
    """Four words of four bytes, turned round, by CUDA's permutations of the bytes of two registers."""
    halves = T.alloc_buffer((4,), "uint32", scope="local")
    for pair in range(2):
        for upper, selector in enumerate((0x5140, 0x7362)):  # by turns: the lower bytes of both, the upper ones
            given = words[2 * pair], words[2 * pair + 1], tirx.const(selector, "uint32")
            T.evaluate(T.ptx["prmt.b32"](halves[2 * upper + pair], *given))
    for which, register in enumerate(to):
        upper, selector = which // 2, (0x5410, 0x7632)[which % 2]  # the lower halves of both, or the upper ones
        given = halves[2 * upper], halves[2 * upper + 1], tirx.const(selector, "uint32")
        T.evaluate(T.ptx["prmt.b32"](register, *given))
