"""How a warp multiplies by a sparse weight: the contract.

Shared memory has a step's inputs as lines of depth: line ``k`` holds input ``k`` of all rows of a tile. Outputs are in
groups, and what a group's weights do not share with zeros alone are its *kept* inputs. So a fragment of the left factor
is gathered by where its lines begin, and what is multiplied is dense.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from tvm import tirx
from tvm.ir import Expr

from dsc.targets.gpu.matrix.fragments import ChunkPlace
from dsc.targets.gpu.sparse.tiling import Registers


@dataclass(frozen=True)
class Weights:
    """What a lane has in registers of a fragment of weights, or of a part of it."""

    weights: tirx.Buffer
    lines: tirx.Buffer
    """Of shared memory, in which the inputs of its `slots` are."""
    first: int = 0
    """Of the weights' registers."""
    first_line: int = 0
    """Of the lines'."""

    def __iter__(self) -> Iterator[tirx.Buffer]:
        return iter((self.weights, self.lines))

    def of(self, part: int, by: Gathering) -> Weights:
        """Those of a part, of all parts."""
        return replace(self, first=part * by.words, first_line=part * by.known)

    def line(self, i: int) -> Expr:
        """The `i`-th."""
        return self.lines[self.first_line + i]


class Gathering(Registers, Protocol):
    """A warp's part of a product: ``sums[rows, columns] += inputs[rows, kept] * weights[kept, columns]``, `deep` kept
    inputs at a time, which are in `slots` of a fragment."""

    @property
    def name(self) -> str:
        """Of the instruction, as points have it."""
        ...

    @property
    def deep(self) -> int: ...
    @property
    def word(self) -> str:
        """The type of these registers."""
        ...

    @property
    def layout(self) -> Sequence[int]:
        """Which weights of a fragment memory has, in its order: each by ``slot * columns + column``."""
        ...

    @property
    def neighbours(self) -> int:
        """Of a lane's `slots`, those that are side by side: their lines are loaded at once."""
        ...

    @property
    def order(self) -> Sequence[int]:
        """The slots, those whose lines are read at once side by side: these had better lie in different banks."""
        ...

    @property
    def instructions(self) -> int:
        """That a warp executes for a fragment of weights, beside those for each fragment of inputs."""
        ...

    @property
    def input_instructions(self) -> int:
        """That it executes for a part of a fragment of inputs, beside the products."""
        ...

    def first_word(self, lane: Expr, part: int) -> Expr:
        """Where a lane's weights of a part are in a fragment."""
        ...

    def slots(self, lane: Expr, part: int) -> Sequence[Expr]:
        """Those of the inputs that a lane loads for a part: it has to know their lines."""
        ...

    def multiply(
        self, sums: tirx.Buffer, at: Expr, lane: Expr, shared: tirx.Buffer, place: ChunkPlace, row: Expr,
        weights: Weights,
    ) -> None:  # fmt: skip
        """Loads inputs and adds their products with the weights of a part to the sums.

        place: of a line and a chunk of it. row: the first one, in the tile. weights: of the part alone.
        """
        ...
