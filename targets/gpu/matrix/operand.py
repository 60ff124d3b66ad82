"""The tiles of a factor: what each chunk of shared memory holds, and how fragments are read of it.

Where neighbours in depth lie side by side in memory, lines of shared memory are lines of the factor. Where neighbours
from line to line do, and fragments can be read so, they are steps of depth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tvm import tirx
from tvm.ir import Expr

from dsc.lower.exprs import divides
from dsc.targets.gpu.matrix.fragments import Fragments
from dsc.targets.gpu.matrix.side import Side
from dsc.targets.gpu.matrix.tiling import SharedTile
from dsc.targets.tir.loops import Loops


@dataclass(frozen=True)
class Corner:
    """The tile of a factor that a block works on."""

    batch: Sequence[Expr]
    """Coordinates of the batch."""
    line: Expr
    """The first line."""
    lines: int


@dataclass(frozen=True)
class Operand:
    """A factor's tile, for each of the steps."""

    side: Side
    corner: Corner
    depth: int
    """Elements of a step."""
    transposed: bool
    """Whether lines of shared memory are steps of depth."""
    loops: Loops
    base: int
    """The word of shared memory at which the tiles begin."""

    @property
    def tile(self) -> SharedTile:
        """In shared memory."""
        lines, elements = (self.depth, self.corner.lines) if self.transposed else (self.corner.lines, self.depth)
        return SharedTile(lines, elements // self.side.chunk, self.base)

    @property
    def together(self) -> int:
        """Elements of a chunk that are side by side in memory."""
        return self.side.together_in_lines if self.transposed else self.side.together_in_depth

    def indices(self, step: Expr, line: Expr, element: Expr) -> tuple[list[Expr], Expr | None]:
        """The indices of the factor's element that is in a line of the tile, at a place in the line, and whether it is
        one of the factor; None where it certainly is. Where it is not, the indices are of no element."""
        across, depth = (element, line) if self.transposed else (line, element)
        side = self.side
        number, k = self.loops.bind(self.corner.line + across), self.loops.bind(step * self.depth + depth)
        inside: list[Expr] = []
        if not divides(self.corner.lines, side.extent):
            inside.append(number < self.loops.const(side.extent))
        if not divides(self.depth, side.deep):
            inside.append(k < self.loops.const(side.deep))
        at = [*self.corner.batch, *self.loops.unravel(number, side.lines), *self.loops.unravel(k, side.depth)]
        access = side.factor.access
        if access is not None and (known := access.is_inside(at)) is not None:
            inside.append(known)
        return at, tirx.all(*inside) if inside else None

    def load(
        self, fragments: Fragments, lane: Expr, to: tirx.Buffer, at: Expr, shared: tirx.Buffer, place: FragmentPlace
    ) -> None:
        """Reads the registers of one fragment."""
        if not self.transposed:
            fragments.load(
                lane, to, at, shared, lambda line, chunk: self.tile.place(place.stage, place.line + line, chunk + place.chunk)
            )
            return
        first_step, first_chunk = place.chunk * self.side.chunk, tirx.floordiv(place.line, self.side.chunk)
        fragments.load_transposed(
            lane, to, at, shared, lambda step, chunk: self.tile.place(place.stage, step + first_step, chunk + first_chunk)
        )


@dataclass(frozen=True)
class FragmentPlace:
    """Where a fragment begins."""

    stage: Expr
    line: Expr
    chunk: int | Expr
    """Of the step's depth."""


def is_transposed(side: Side, fragments: Fragments) -> bool:
    """Whether a factor goes to shared memory as memory has it, from line to line: where that loads more at once."""
    return fragments.transposes and side.together_in_lines > side.together_in_depth
