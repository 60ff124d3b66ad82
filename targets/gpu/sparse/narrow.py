"""What ways to multiply elements of which a register has several take over from the fragments of their instruction."""

from __future__ import annotations

from dataclasses import dataclass

from tvm.ir import Expr

from dsc.targets.gpu.matrix.fragments import CHUNK_BYTES, Fragments
from dsc.targets.gpu.matrix.tiling import WORD_BYTES


@dataclass(frozen=True)
class Narrow:
    """The part of a `Gathering` that an instruction tells."""

    fragments: Fragments
    per_word: int
    """Elements of a register: halves or bytes."""

    @property
    def columns(self) -> int:
        return self.fragments.columns

    @property
    def run(self) -> int:
        return self.fragments.run

    @property
    def chunk(self) -> int:
        """Elements of one."""
        return CHUNK_BYTES // WORD_BYTES * self.per_word

    @property
    def deep(self) -> int:
        return self.fragments.chunks * self.chunk

    @property
    def words(self) -> int:
        return self.fragments.words

    @property
    def word(self) -> str:
        return self.fragments.word

    @property
    def accumulator(self) -> str:
        return self.fragments.accumulator

    def first_word(self, lane: Expr, part: int) -> Expr:
        """All registers of a lane are side by side."""
        return lane * self.words
