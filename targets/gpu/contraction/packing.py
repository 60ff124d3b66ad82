"""Constant factors arranged as a kernel loads them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeAlias

from tvm import te
from tvm.ir import Expr

from dsc.lower.nominal import nominal
from dsc.lower.workload import Workload
from dsc.targets.cpu.inline import identity, is_one_of
from dsc.targets.gpu.access import Access
from dsc.targets.gpu.contraction.factors import Factor
from dsc.targets.gpu.contraction.source import Contraction
from dsc.targets.kernel import ArrayType, Rearrange

Arrange: TypeAlias = Callable[[Factor], "list[int] | None"]
"""In which order a factor's axes are to lie in memory; None where it stays."""
MOST = 4
"""Elements loaded at once: where a factor's can be, it stays as it is."""


def packed(source: Contraction, workload: Workload, arrange: Arrange) -> Contraction:
    """`source` with each constant factor arranged anew, if `arrange` says how."""
    for name, factor, other in (("a", source.a, source.b), ("b", source.b, source.a)):
        index = constant_input(source, workload, factor, other)
        order = None if index is None else arrange(factor)
        if index is None or order is None:
            continue
        memory, arranged = _arranged(factor, order)
        params = tuple(memory if i == index else param for i, param in enumerate(source.params))
        packing = _packing(factor, order)
        packings = {**source.packings, index: packing}
        a, b = (arranged, source.b) if name == "a" else (source.a, arranged)
        source = replace(source, params=params, packings=packings, a=a, b=b)
    return source


def by_depth(factor: Factor) -> list[int] | None:
    """``[batch.., depth.., rows or columns..]``, so that neighbouring threads load neighbours; none where more can be
    loaded at once than an element."""
    access = factor.access
    assert access is not None
    if access.run(factor.side_axes) > 1 or access.vector(factor.depth_axes, MOST) > 1:
        return None
    return [*range(factor.side_axes.start), *factor.depth_axes, *factor.side_axes]


def constant_input(source: Contraction, workload: Workload, factor: Factor, other: Factor) -> int | None:
    """The constant input that a factor is, if nothing else reads it."""
    if factor.access is None or factor.access.inside is not None or other.access is None:
        return None
    memory = factor.access.memory
    if is_one_of(memory, [other.access.memory, *(read.tensor for read in source.beside)]):
        return None
    if not factor.access.is_all():
        return None
    index = next(i for i, param in enumerate(source.params) if identity(param) == identity(memory))
    return index if workload.operands[index].constant else None


def _packing(factor: Factor, order: Sequence[int]) -> Rearrange:
    """How a factor is arranged, its axes in that order."""
    access = factor.access
    assert access is not None
    axes = sorted(order, key=lambda axis: -nominal(access.steps[axis]))
    reshape = tuple(nominal(access.sizes[axis]) for axis in axes)
    return Rearrange((0,) * len(access.memory.shape), reshape, tuple(axes.index(axis) for axis in order))


def _arranged(factor: Factor, order: Sequence[int]) -> tuple[te.Tensor, Factor]:
    """The constant as it is given then, and the factor in terms of that."""
    access = factor.access
    assert access is not None
    given = access.memory
    array = ArrayType(tuple(map(nominal, given.shape)), str(given.dtype))
    (made,) = _packing(factor, order).arrays(array)
    memory = te.placeholder(made.shape, made.dtype, name=given.op.name)

    def element(*at: Expr) -> Expr:
        return access.converted(memory(*(at[axis] for axis in order)), str(factor.tensor.dtype))

    tensor = te.compute(factor.tensor.shape, element, name="factor")
    return memory, replace(factor, tensor=tensor, access=Access.of(tensor, [memory]))
