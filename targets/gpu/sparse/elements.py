"""float32 by ordinary multiply-adds: every lane has some rows, and all have the same weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tvm import tirx
from tvm.ir import Expr
from tvm.tirx.script.builder import ir as T

from dsc.targets.gpu.matrix.fragments import ChunkPlace
from dsc.targets.gpu.matrix.tiling import CHUNK_WORDS
from dsc.targets.gpu.sparse.gathering import Weights
from dsc.targets.gpu.tile import unrolled
from dsc.targets.tir.loops import Loops

WEIGHTS = 16
"""Of a fragment, which all lanes have in registers: as many inputs as that gives."""
INDEX_INSTRUCTIONS = 6
"""For each input of a fragment: the place of its line, the line of the next one; and the loop, shared."""

INPUT_INSTRUCTIONS = 6
"""To load an input of a lane's rows: where it is."""


@dataclass(frozen=True)
class Elements:
    """See `Gathering`."""

    lanes: int
    tall: int
    """Rows of a lane, neighbours: as many floats as it loads at once."""
    columns: int
    word: str = "float32"
    accumulator: str = "float32"
    run: int = 4
    input_instructions: int = INPUT_INSTRUCTIONS
    neighbours: int = 1
    known: int = 1

    @property
    def name(self) -> str:
        return f"fma.{self.tall}x{self.columns}"

    @property
    def rows(self) -> int:
        return self.lanes * self.tall

    @property
    def sums(self) -> int:
        return self.tall * self.columns

    @property
    def deep(self) -> int:
        return WEIGHTS // self.columns

    @property
    def parts(self) -> int:
        """An input each: once it is multiplied, its registers take the next one's weights."""
        return self.deep

    @property
    def words(self) -> int:
        return self.columns

    @property
    def layout(self) -> Sequence[int]:
        """Input by input."""
        return range(self.deep * self.columns)

    @property
    def order(self) -> Sequence[int]:
        """All lanes read the same line."""
        return range(self.deep)

    @property
    def inputs(self) -> int:
        return self.tall

    @property
    def instructions(self) -> int:
        return self.deep * (self.columns // CHUNK_WORDS + INDEX_INSTRUCTIONS)

    def first_word(self, lane: Expr, part: int) -> Expr:
        """All lanes load the same."""
        return tirx.const(part * self.columns, str(lane.expr_ty()))

    def slots(self, lane: Expr, part: int) -> Sequence[Expr]:
        """That of the part."""
        return [tirx.const(part, str(lane.expr_ty()))]

    def position(self, lane: Expr, register: int) -> tuple[Expr, Expr]:
        """Rows one below the other."""
        below, column = divmod(register, self.columns)
        return lane * self.tall + below, tirx.const(column, str(lane.expr_ty()))

    def multiply(
        self, sums: tirx.Buffer, at: Expr, lane: Expr, shared: tirx.Buffer, place: ChunkPlace, row: Expr,
        weights: Weights,
    ) -> None:  # fmt: skip
        """One input of all rows."""
        line, own = weights.line(0), Loops()
        number = row + lane * self.tall
        chunk, inside = tirx.floordiv(number, CHUNK_WORDS), tirx.floormod(number, CHUNK_WORDS)
        word = T.Bind(place(line, chunk) + inside)
        values = T.alloc_buffer((self.tall,), self.word, scope="local")
        T.buffer_store(values, shared[own.span(word, self.tall)], [own.span(0, self.tall)])
        with unrolled(self.tall) as i, unrolled(self.columns) as j:
            total = at + i * self.columns + j
            T.buffer_store(sums, sums[total] + values[i] * weights.weights[weights.first + j], [total])
