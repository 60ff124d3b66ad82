"""The tiles of a factor: what each chunk of shared memory holds, and how fragments are read of it.

Where neighbours in depth lie side by side in memory, lines of shared memory are lines of the factor. Where neighbours
from line to line do, and fragments can be read so, they are steps of depth.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tvm import tirx
from tvm.ir import Expr
from tvm.tirx.script.builder import ir as T

from dsc.lower.exprs import divides
from dsc.targets.gpu.access import Access
from dsc.targets.gpu.elements import Elements
from dsc.targets.gpu.matrix.fragments import Fragments
from dsc.targets.gpu.matrix.side import Side, repeated
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
    sector_bytes: int = field(default=0, kw_only=True)
    """Of a piece of memory: a warp that loads fewer side by side of a line goes on with the next one."""
    order: Callable[[Expr], Expr] | None = field(default=None, kw_only=True)
    """Which of the factor's lines, counted in the tile, a line of shared memory is, where it is another one."""

    @property
    def tile(self) -> SharedTile:
        """In shared memory."""
        lines, elements = (self.depth, self.corner.lines) if self.transposed else (self.corner.lines, self.depth)
        return SharedTile(lines, elements // self.side.chunk, self.base)

    @property
    def together(self) -> int:
        """Elements of a chunk that are side by side in memory."""
        return self.side.together_in_lines if self.transposed else self.side.together_in_depth

    def segment(self, elements: int) -> int:
        """Pieces of so many elements, of a line of the tile, after which memory goes on with the next line's: all of a
        line where it does not, or where that is not known."""
        in_line = self.tile.chunks * self.side.chunk // elements
        if self.transposed or self.side.apart is None:
            return in_line
        if self.side.apart <= elements:
            return 1
        if self.side.apart * self.side.bytes >= self.sector_bytes:
            return in_line  # neighbours of a column may conflict in the banks of shared memory
        pieces, rest = divmod(self.side.apart, elements)
        return pieces if rest == 0 and in_line % pieces == 0 else in_line

    def coordinates(self, step: Expr, line: Expr, element: Expr) -> tuple[Expr, Expr]:
        """Line and depth, of the whole factor, of what is in a line of the tile, at a place in the line."""
        across, depth = (element, line) if self.transposed else (line, element)
        if self.order is not None:
            across = self.order(across)
        return self.loops.bind(self.corner.line + across), self.loops.bind(step * self.depth + depth)

    def position(self, access: Access, number: Expr, k: Expr) -> Expr:
        """Where an element is in memory."""
        found = access.start + self.loops.const(0)
        for index, apart in zip(self.corner.batch, access.steps, strict=False):
            found = found + index * apart
        factor = self.side.factor
        return (
            found
            + access.offset(factor.side_axes, number, self.loops)
            + access.offset(factor.depth_axes, k, self.loops)
        )

    def is_inside(self, access: Access, number: Expr, k: Expr) -> Expr | None:
        """Whether a line and a depth are the factor's, and the element is in memory; None where they certainly are."""
        is_element = self.is_element(access, number, k)
        conditions = list[Expr]()
        if not divides(self.corner.lines, self.side.extent):
            conditions.append(number < self.loops.const(self.side.extent))
        conditions += [] if is_element is None else [is_element]
        return tirx.all(*conditions) if conditions else None

    def is_element(self, access: Access, number: Expr, k: Expr) -> Expr | None:
        """The same of one of the factor's lines."""
        conditions = [] if divides(self.depth, self.side.deep) else [k < self.loops.const(self.side.deep)]
        conditions += [] if access.inside is None else [access.is_inside(self.indices(number, k))]
        return tirx.all(*conditions) if conditions else None

    def bounded(self, number: Expr, lines: int = 1) -> Expr:
        """The first of so many lines, or of the last ones for those beyond them, whose results are never stored."""
        if divides(self.corner.lines, self.side.extent):
            return number
        return T.Bind(tirx.min(number, self.loops.const(self.side.extent) - lines))

    def fill(self, elements: Elements, number: Expr) -> Expr:
        """A word of what a line has where it is not in memory: zero points, or zeros."""
        return tirx.const(0, "float32") if self.side.zero is None else repeated(self.zero(elements, number))

    def zero(self, elements: Elements, number: Expr) -> Expr:
        """The zero point of a line, or of the last one for those beyond it."""
        lines = self.loops.unravel(self.bounded(number), self.side.lines)
        return self.side.zero_at(elements, [*self.corner.batch, *lines])

    def indices(self, number: Expr, k: Expr) -> list[Expr]:
        """Those of the factor's tensor."""
        lines, depth = self.loops.unravel(number, self.side.lines), self.loops.unravel(k, self.side.depth)
        return [*self.corner.batch, *lines, *depth]

    def load(
        self, fragments: Fragments, lane: Expr, to: tirx.Buffer, at: Expr, shared: tirx.Buffer, place: FragmentPlace
    ) -> None:
        """Reads the registers of one fragment."""
        tile, stage = self.tile, place.stage
        if self.transposed:
            assert fragments.load_transposed is not None  # see is_transposed
            step, number = place.chunk * self.side.chunk, tirx.floordiv(place.line, self.side.chunk)
            fragments.load_transposed(lane, to, at, shared, lambda i, j: tile.place(stage, i + step, j + number))
        else:
            fragments.load(lane, to, at, shared, lambda i, j: tile.place(stage, i + place.line, j + place.chunk))


@dataclass(frozen=True)
class FragmentPlace:
    """Where a fragment begins."""

    stage: Expr
    line: Expr
    chunk: int | Expr
    """Of the step's depth."""


def is_transposed(side: Side, fragments: Fragments) -> bool:
    """Whether a factor goes to shared memory as memory has it, from line to line: where that loads more at once."""
    return fragments.load_transposed is not None and side.together_in_lines > side.together_in_depth
