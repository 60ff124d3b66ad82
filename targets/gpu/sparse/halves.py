"""What ways to multiply halves take over from the fragments of their instruction."""

from __future__ import annotations

from dataclasses import dataclass

from tvm.ir import Expr

from dsc.targets.gpu.matrix.fragments import Fragments

CHUNK = 8
"""Halves of a chunk."""


@dataclass(frozen=True)
class Halves:
    """The part of a `Gathering` that an instruction tells."""

    fragments: Fragments

    @property
    def columns(self) -> int:
        return self.fragments.columns

    @property
    def run(self) -> int:
        return self.fragments.run

    @property
    def deep(self) -> int:
        return self.fragments.chunks * CHUNK

    @property
    def words(self) -> int:
        return self.fragments.words

    @property
    def word(self) -> str:
        return self.fragments.word

    def first_word(self, lane: Expr, part: int) -> Expr:
        """All registers of a lane are side by side."""
        return lane * self.words
