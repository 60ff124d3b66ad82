"""What the results of a contraction read: one sum for each element, and inputs beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tvm import te, tirx
from tvm.ir import Expr

from dsc.lower.exprs import Dim, dims, same
from dsc.targets.cpu.gemm.product import same_place, unproven_dims
from dsc.targets.cpu.inline import Leaf
from dsc.targets.gpu.axes import Axis
from dsc.targets.gpu.elements import Elements
from dsc.targets.kernel import Refusal
from dsc.targets.tir.loops import function


@dataclass(frozen=True, eq=False)
class Reading:
    """What an element of the results reads, by its indices."""

    axes: tuple[Axis, ...]
    """Of the results."""
    sums: tuple[Expr, ...]
    """The indices of its sum."""
    inputs: tuple[tuple[te.Tensor, tuple[Expr, ...]], ...]
    """What it reads of the inputs, and where."""
    in_place: bool
    """Whether the sum is that of the same place."""
    assumed: tuple[tuple[Dim, Dim], ...]
    """Dims that must be equal."""

    @property
    def sizes(self) -> tuple[Dim, ...]:
        """Of the results."""
        return tuple(axis.size for axis in self.axes)


def reading(acc: te.Tensor, inputs: Sequence[te.Tensor], outputs: Sequence[te.Tensor]) -> Reading | Refusal:
    """What `outputs` read of the sums `acc` and beside them, or why an element of theirs is not made of one sum."""
    found = _shape(acc, outputs)
    if isinstance(found, Refusal):
        return found
    sizes, assumed = found
    axes = tuple(Axis(tirx.Var(f"i{a}", str(tirx.convert(size).ty)), size) for a, size in enumerate(sizes))
    at = [axis.var for axis in axes]
    sums: list[tuple[Expr, ...]] = []
    read: list[tuple[te.Tensor, tuple[Expr, ...]]] = []

    def note(tensor: te.Tensor) -> Leaf:
        def leaf(indices: Sequence[Expr]) -> Expr:
            if tensor is acc:
                sums.append(tuple(indices))
            else:
                read.append((tensor, tuple(indices)))
            return tirx.Var("read", str(tensor.dtype))

        return leaf

    with function():
        elements = Elements({tensor: note(tensor) for tensor in (*inputs, acc)})
        for output in outputs:
            elements.at(output, at)
    if elements.problems:
        return Refusal(elements.problems[0])
    if not sums or not all(_alike(sums[0], other) for other in sums[1:]):
        return Refusal("an op after the product moves elements")
    in_place = len(sums[0]) == len(at) and same_place(sums[0], at, sizes)
    if assumed and not in_place:
        return Refusal("an op after the product moves elements of unknown sizes")
    return Reading(axes, sums[0], tuple(read), in_place, assumed)


Shape = tuple[tuple[Dim, ...], tuple[tuple[Dim, Dim], ...]]


def _shape(acc: te.Tensor, outputs: Sequence[te.Tensor]) -> Shape | Refusal:
    """The shape of all outputs: that of the sums, as far as is known, or another of as many elements."""
    sizes = tuple(dims(acc.shape))
    pairs = [unproven_dims(output.shape, sizes) for output in outputs]
    if all(pair is not None for pair in pairs):
        return sizes, tuple(pair for found in pairs for pair in found or ())
    shapes = [tuple(dims(output.shape)) for output in outputs]
    if all(len(shape) == len(shapes[0]) and all(map(same, shape, shapes[0])) for shape in shapes):
        return shapes[0], ()
    return Refusal("outputs of several shapes")


def _alike(left: Sequence[Expr], right: Sequence[Expr]) -> bool:
    return all(map(same, left, right))
