"""Which neighbours of an operand lie side by side in memory, and how many of them one load gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import tvm_ffi
from tvm import sym, te, tirx
from tvm.ir import Expr

from dsc.lower.exprs import dims, equal, static
from dsc.lower.nominal import nominal
from dsc.targets.cpu.inline import Leaf
from dsc.targets.gpu.elements import Elements
from dsc.targets.gpu.strides import step
from dsc.targets.tir.loops import function

COUNTS = (16, 8, 4, 2)
VECTOR_TYPES = ("float32", "int32", "uint32", "float16", "uint16", "int16")
"""Whose vectors all GPU languages of TVM load at once."""

Read = tuple[te.Tensor, tuple[Expr, ...]]
"""A tensor in memory, and where."""


@dataclass(frozen=True, eq=False)
class Neighbours:
    """Elements of an operand along one axis."""

    tensors: tuple[te.Tensor, ...]
    """Of which those that belong to them lie side by side; none where a neighbour is elsewhere."""
    together: int
    """That one load gives, of each of these: they are whole vectors, and each begins where a vector may."""

    @property
    def element_bytes(self) -> int:
        """Of the widest of the tensors."""
        return max(_bits(tensor) // 8 for tensor in self.tensors)


def neighbours(
    stage: te.ComputeOp, part: Expr, memory: Sequence[te.Tensor], axes: Sequence[tirx.IterVar], vector_bytes: int
) -> Neighbours:
    """Those of a part of what a reduction takes, along `axes`, of which the last that has several elements counts."""
    found = reads(stage, part, memory, [axis.var for axis in stage.axis], [axis.var for axis in stage.reduce_axis])
    if found is None or not axes:
        return Neighbours((), 1)
    axis = axes[last(axes)]
    steps = [step(indices, dims(tensor.shape), axis.var) for tensor, indices in found]
    beside = [read for read, apart in zip(found, steps, strict=True) if apart == 1]
    tensors = tuple(tensor for tensor, _ in beside)
    if not set(steps) <= {0, 1} or len(set(tensors)) < len(tensors):
        return Neighbours((), 1)
    places = [*stage.axis, *stage.reduce_axis]
    for count in COUNTS:
        if (
            beside
            and _in_vectors(axis, count)
            and all(_is_whole(r, axis.var, count, places, vector_bytes) for r in beside)
        ):
            return Neighbours(tensors, count)
    return Neighbours(tensors, 1)


def reads(
    stage: te.ComputeOp, part: Expr, memory: Sequence[te.Tensor], indices: Sequence[Expr], walked: Sequence[Expr]
) -> list[Read] | None:
    """What is read of `memory` for a part of what a reduction takes at one place; None where it depends on more than
    the place: on a condition, or on an element that was read."""
    found: list[Read] = []
    loaded = tirx.Var("loaded", "int64")

    def reading(source: te.Tensor) -> Leaf:
        def leaf(at: Sequence[Expr]) -> Expr:
            found.append((source, tuple(at)))
            return loaded.astype(str(source.dtype))

        return leaf

    with function() as made:
        elements = Elements({source: reading(source) for source in memory})
        elements.term(stage, part, indices, walked)
    branches: list[tirx.IfThenElse] = []
    tvm_ffi.structural_walk(made.get().body, (tirx.IfThenElse, branches.append))
    places = [index for _, at in found for index in at if isinstance(index, Expr)]
    depends = any(loaded.same_as(var) for index in places for var in tirx.analysis.undefined_vars(index))
    return None if branches or depends or elements.problems else found


def last(axes: Sequence[tirx.IterVar]) -> int:
    """Which is the innermost axis that has more than one element: neighbours differ in it. -1 where none has."""
    return max((a for a, axis in enumerate(axes) if nominal(axis.dom.extent) > 1), default=-1)


def _in_vectors(axis: tirx.IterVar, count: int) -> bool:
    extent = static(axis.dom.extent)
    return extent is not None and extent % count == 0


def _is_whole(read: Read, index: tirx.Var, count: int, places: Sequence[tirx.IterVar], vector_bytes: int) -> bool:
    """Whether `count` neighbours, the first of which has a multiple of that for its `index`, are a vector, wherever
    that is in `places`."""
    tensor, at = read
    if str(tensor.dtype) not in VECTOR_TYPES or _bits(tensor) * count > 8 * vector_bytes:
        return False
    flat: Expr = tirx.const(0, str(index.ty))
    for each, size in zip(at, dims(tensor.shape), strict=True):
        flat = flat * size + each
    vector = tirx.Var("vector", str(index.ty))
    first = tvm_ffi.structural_map(flat, (tirx.Var, lambda var: vector * count if var.same_as(index) else var))
    analyzer = sym.Analyzer()
    for axis in places:
        analyzer.bind(axis.var, axis.dom)
    return bool(analyzer.can_prove(equal(tirx.floormod(first, count), 0)))


def _bits(tensor: te.Tensor) -> int:
    return int(tvm_ffi.dtype(str(tensor.dtype)).bits)
