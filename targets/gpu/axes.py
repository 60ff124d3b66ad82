"""Axes of results and sums, split where what is read divides them.

A convolution of packed images reads ``x[n, c // 16, h, w, c % 16]``, and one of groups ``x[n, o // 8 * 4 + c, h, w]``.
Where the axis of ``c`` is two, blocks and channels in a block, elements lie at even distances along each, and groups
are an axis of their own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import tvm_ffi
from tvm import sym, tirx
from tvm.ir import Expr

from dsc.lower.exprs import Dim, product, same, static
from dsc.targets.gpu.access import ranges, replaced


@dataclass(frozen=True, eq=False)
class Axis:
    """An index, and the size of what it is one of."""

    var: tirx.Var
    size: Dim

    @property
    def extent(self) -> Expr:
        """The size as an expression of the index's type."""
        return tirx.const(self.size, str(self.var.ty)) if isinstance(self.size, int) else self.size

    def halves(self, inner: int) -> tuple[Axis, Axis]:
        """Two axes for one: blocks of `inner`, and places in a block."""
        assert isinstance(self.size, int)
        dtype = str(self.var.ty)
        outside, inside = tirx.Var(f"{self.var.name}o", dtype), tirx.Var(f"{self.var.name}i", dtype)
        return Axis(outside, self.size // inner), Axis(inside, inner)


@dataclass(frozen=True, eq=False)
class Parts:
    """The axes that one axis was split into, outermost first."""

    whole: tirx.Var
    axes: tuple[Axis, ...]

    @property
    def index(self) -> Expr:
        """That of the whole axis, in terms of its parts."""
        found: Expr = tirx.const(0, str(self.whole.ty))
        for position, axis in enumerate(self.axes):
            if not same(axis.size, 1):
                found = found + axis.var * product(inner.size for inner in self.axes[position + 1 :])
        return found


def split(axes: Sequence[Axis], indices: Sequence[Expr]) -> list[Parts]:
    """Each axis in the parts that `indices` divide it into."""
    parts = [Parts(axis.var, (axis,)) for axis in axes]
    while (found := _divided([axis for each in parts for axis in each.axes], indices)) is not None:
        axis, inner = found
        halves = axis.halves(inner)
        parts = [_with(each, axis, halves) for each in parts]
        index, known = Parts(axis.var, halves).index, limits([axis for each in parts for axis in each.axes])
        indices = [known.simplify(replaced(each, [axis.var], [index])) for each in indices]
    return parts


def limits(axes: Sequence[Axis]) -> sym.Analyzer:
    """Knows the ranges of the indices."""
    return ranges([axis.var for axis in axes], [axis.size for axis in axes])


def several(parts: Sequence[Parts]) -> list[Axis]:
    """The axes that have more than one element."""
    return [axis for each in parts for axis in each.axes if not same(axis.size, 1)]


def in_parts(indices: Sequence[Expr], parts: Sequence[Parts]) -> tuple[Expr, ...]:
    """Indices in terms of the parts of axes."""
    wholes, values = [each.whole for each in parts], [each.index for each in parts]
    return tuple(replaced(index, wholes, values) for index in indices)


def _with(parts: Parts, axis: Axis, halves: tuple[Axis, Axis]) -> Parts:
    found = [part for each in parts.axes for part in (halves if each is axis else (each,))]
    return Parts(parts.whole, tuple(found))


def _divided(axes: Sequence[Axis], indices: Sequence[Expr]) -> tuple[Axis, int] | None:
    """An axis whose index is divided, without a rest, and by what."""
    for var, inner in _divisions(indices):
        for axis in axes:
            size = axis.size
            if axis.var.same_as(var) and isinstance(size, int) and 1 < inner < size and size % inner == 0:
                return axis, inner
    return None


def _divisions(indices: Sequence[Expr]) -> Iterator[tuple[Expr, int]]:
    found: list[tuple[Expr, int]] = []

    def divided(node: tirx.FloorDiv | tirx.FloorMod) -> None:
        found.append((node.a, static(node.b) or 0))

    for index in indices:
        tvm_ffi.structural_walk(index, [((tirx.FloorDiv, tirx.FloorMod), divided)])
    yield from found
