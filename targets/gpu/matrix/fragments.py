"""How the matrices of an instruction lie in the registers of a warp: the contract."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeAlias

from tvm import tirx
from tvm.ir import Expr
from tvm.tirx.script.builder import ir as T

from dsc.targets.tir.loops import Loops

CHUNK_BYTES = 16
"""What a lane reads of shared memory at once, neighbours in depth: the unit in which fragments are read."""
ChunkPlace: TypeAlias = Callable[[Expr, Expr], Expr]
"""Where a chunk begins in shared memory, in words of 32 bits: by its line and its number in the line."""

Load: TypeAlias = Callable[[Expr, tirx.Buffer, Expr, tirx.Buffer, ChunkPlace], None]
"""Reads the registers of an operand, as `Fragments.load` does."""


class Sums(Protocol):
    """A matrix of sums in the registers of a warp, of which each lane has as many as the others."""

    @property
    def rows(self) -> int: ...
    @property
    def columns(self) -> int: ...
    @property
    def sums(self) -> int:
        """Registers of a lane."""
        ...

    @property
    def run(self) -> int:
        """Neighbouring registers of the sums that are neighbours in a row."""
        ...

    def position(self, lane: Expr, register: int) -> tuple[Expr, Expr]:
        """Row and column of a sum."""
        ...


class Fragments(Sums, Protocol):
    """A warp's part of a product: ``sums[rows, columns] += a[rows, depth] * b[depth, columns]``, by as many
    instructions as read `chunks` of every row and column.

    A lane has `words` registers of 32 bits of each operand and `sums` registers of the result. Both operands are read
    alike, by most of them: of `a`, lines are rows; of `b`, columns.
    """

    @property
    def chunks(self) -> int:
        """Of 16 bytes: the depth."""
        ...

    @property
    def words(self) -> int: ...
    @property
    def word(self) -> str:
        """The type of the operands' registers."""
        ...

    @property
    def accumulator(self) -> str:
        """The type of the sums' registers."""
        ...

    @property
    def loads_move(self) -> bool:
        """Whether compilers load all fragments of a step ahead of its products, as they do by ordinary loads."""
        ...

    @property
    def right(self) -> Fragments:
        """The same with loads as the instruction wants its right operand, where that makes a difference to compilers.
        What is in which element of the array that is loaded into does not change."""
        ...

    @property
    def interleaved(self) -> Fragments | None:
        """The same with lines of the right operand in another order, so that lanes have more neighbours in a row of the
        sums; None where there is none."""
        ...

    @property
    def order(self) -> Callable[[Expr], Expr] | None:
        """The column of the result that a line of the right operand is, where it is another one."""
        ...

    def load(self, lane: Expr, to: tirx.Buffer, at: Expr, shared: tirx.Buffer, place: ChunkPlace) -> None:
        """Registers from `at` on, of a matrix with a line for each row or column."""
        ...

    @property
    def load_transposed(self) -> Load | None:
        """`load` of a matrix with a line for each step of depth; None where that cannot be read so."""
        ...

    def multiply(self, sums: tirx.Buffer, at: Expr, a: tirx.Buffer, a_at: Expr, b: tirx.Buffer, b_at: Expr) -> None:
        """Adds the products of two fragments, whose registers begin at the given places, to the sums."""
        ...

    def held(self, lane: Expr, element: int, chunk: int) -> tuple[Expr, Expr]:
        """Line and depth of an element of an operand, by its number among those that a lane has in its registers, where
        a chunk has so many elements."""
        ...

    def round_operand(self, to: tirx.Buffer, at: Expr) -> None:
        """Rounds the registers of an operand, from `at` on, that were written and not loaded: where an element has more
        bits in a register than are multiplied."""
        ...


def vector_load(to: tirx.Buffer, at: Expr, shared: tirx.Buffer, word: Expr) -> None:
    """One chunk of shared memory, to registers from `at` on."""
    words, span = CHUNK_BYTES // 4, Loops().span
    T.buffer_store(to, shared[span(word, words)], [span(at, words)])
