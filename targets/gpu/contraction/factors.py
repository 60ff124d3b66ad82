"""The two factors of a contraction: which axes they differ along, and how they lie in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import tvm_ffi
from tvm import te, tirx
from tvm.ir import Call, Expr
from tvm_ffi.structural import StructuralMutator

from dsc.lower.exprs import Dim, dims
from dsc.lower.nominal import nominal
from dsc.targets.gpu.access import Access, replaced, traced, uses
from dsc.targets.gpu.axes import Axis, Parts, in_parts
from dsc.targets.tir.loops import Loops


@dataclass(frozen=True, eq=False)
class Factor:
    """What is multiplied, by batch, by row (of the right one by column), and by depth."""

    tensor: te.Tensor
    """``[batch.., rows or columns.., depth..]``, computed from the parameters: of a convolution, the unfolded image."""
    access: Access | None
    """Where its elements lie in memory; None where they are more than loads."""
    side_axes: range
    """Which of its axes are rows or columns."""
    depth_axes: range
    """Which of its axes are depth."""

    @property
    def sizes(self) -> tuple[Dim, ...]:
        """Of all axes."""
        return tuple(dims(self.tensor.shape))

    def place(self, side: Expr, k: Expr, loops: Loops) -> list[Expr]:
        """The indices along the axes but the batch's, of row (or column) `side` and depth `k`."""
        rows, depth = ([self.sizes[axis] for axis in axes] for axes in (self.side_axes, self.depth_axes))
        return [*loops.unravel(side, rows), *loops.unravel(k, depth)]


@dataclass(frozen=True, eq=False)
class Term:
    """A factor as the sums have it: an expression of tensors."""

    expression: Expr
    places: Mapping[tirx.Var, Expr]
    """What its variables, the indices of the sums and of the depth, are in terms of those of `axes`."""
    axes: tuple[Axis, ...]
    """Of the results and of the depth."""
    memory: tuple[te.Tensor, ...]
    """The inputs."""

    def within(self, parts: Sequence[Parts]) -> Term:
        """The same in terms of the parts of its axes."""
        places = dict(zip(self.places, in_parts(list(self.places.values()), parts), strict=True))
        return Term(self.expression, places, tuple(axis for each in parts for axis in each.axes), self.memory)

    def over(self, axes: Sequence[Axis]) -> te.Tensor:
        """The tensor of its elements along some of its axes; the others do not matter."""
        variables = [axis.var for axis in self.axes]

        def element(*at: Expr) -> Expr:
            along = dict(zip(axes, at, strict=True))
            values = [along.get(axis, tirx.const(0, str(axis.var.ty))) for axis in self.axes]
            places = {var: replaced(index, variables, values) for var, index in self.places.items()}
            return _substituted(self.expression, places)

        return te.compute([axis.extent for axis in axes], element, name="factor")

    def indices(self) -> list[Expr]:
        """The indices with which it reads memory, by those of all its axes."""
        found = traced(self.over(self.axes), self.memory)
        variables = [axis.var for axis in self.axes]
        return [replaced(index, found.variables, variables) for _, indices in found.reads for index in indices]

    def differs(self) -> list[Axis]:
        """The axes along which it does."""
        found = traced(self.over(self.axes), self.memory)
        read = [found.value, *(index for _, indices in found.reads for index in indices)]
        pairs = zip(self.axes, found.variables, strict=True)
        return [axis for axis, variable in pairs if any(uses(each, variable) for each in read)]

    def factor(self, batch: Sequence[Axis], side: Sequence[Axis], depth: Sequence[Axis]) -> Factor:
        """The factor with its axes in that order."""
        tensor = self.over([*batch, *side, *depth])
        sides = range(len(batch), len(batch) + len(side))
        return Factor(tensor, Access.of(tensor, self.memory), sides, range(sides.stop, sides.stop + len(depth)))


def by_memory(factor: Factor, depth: Sequence[Axis]) -> list[Axis]:
    """The axes of the depth in the order in which the elements of a factor lie: neighbours along the last one are
    neighbours there."""
    if factor.access is None:
        return list(depth)
    steps = [abs(nominal(factor.access.steps[axis])) for axis in factor.depth_axes]
    return [axis for _, axis in sorted(zip(steps, depth, strict=True), key=lambda pair: -pair[0])]


def _substituted(expression: Expr, places: Mapping[tirx.Var, Expr]) -> Expr:
    """An expression on tensors, with other indices in the place of variables."""

    def variable(var: tirx.Var, _: StructuralMutator) -> Expr:
        return places.get(var, var)

    def call(node: Call, mutator: StructuralMutator) -> Expr:
        if getattr(node.op, "name", "") != "te.tensor_load":
            return mutator.default_mutate(node)
        return node.args[0](*(mutator.mutate(index) for index in node.args[1:]))

    return tvm_ffi.structural_mutate(expression, [(tirx.Var, variable), (Call, call)])
