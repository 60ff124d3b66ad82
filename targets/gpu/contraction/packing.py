"""Constant factors arranged so that neighbouring threads load neighbours: rows of columns, one for each depth."""

from __future__ import annotations

from dataclasses import replace

from tvm import te
from tvm.ir import Expr

from dsc.lower.nominal import nominal
from dsc.lower.workload import Workload
from dsc.targets.cpu.inline import identity, is_one_of
from dsc.targets.gpu.access import Access
from dsc.targets.gpu.contraction.factors import Factor
from dsc.targets.gpu.contraction.source import Contraction
from dsc.targets.kernel import ArrayType, Packing, Rearrange

MOST = 4
"""Elements loaded at once: where a factor's can be, it stays as it is."""


def packed(source: Contraction, workload: Workload) -> Contraction:
    """`source` with each constant factor, of which no more can be loaded at once than an element, as ``[batch..,
    depth.., rows or columns..]``."""
    params, packings = list(source.params), dict[int, Packing]()

    def arranged(factor: Factor, other: Factor) -> Factor:
        index = _constant(source, workload, factor, other)
        packing = None if index is None else _packing(factor)
        if index is None or packing is None:
            return factor
        packings[index] = packing
        params[index], found = _arranged(factor, packing)
        return found

    a, b = arranged(source.a, source.b), arranged(source.b, source.a)
    return replace(source, params=tuple(params), packings=packings, a=a, b=b)


def _constant(source: Contraction, workload: Workload, factor: Factor, other: Factor) -> int | None:
    """The constant input that a factor is, if nothing else reads it."""
    if factor.access is None or factor.access.inside is not None or other.access is None:
        return None
    memory = factor.access.memory
    if is_one_of(memory, [other.access.memory, *(read.tensor for read in source.beside)]):
        return None
    index = next(i for i, param in enumerate(source.params) if identity(param) == identity(memory))
    return index if workload.operands[index].constant else None


def _packing(factor: Factor) -> Rearrange | None:
    """How a factor is arranged; None where it stays, or is not all of the constant."""
    access = factor.access
    assert access is not None
    if access.run(factor.side_axes) > 1 or access.vector(factor.depth_axes, MOST) > 1 or not access.is_all():
        return None
    axes = sorted(_order(factor), key=lambda axis: -nominal(access.steps[axis]))
    reshape = tuple(nominal(access.sizes[axis]) for axis in axes)
    return Rearrange((0,) * len(access.memory.shape), reshape, tuple(axes.index(axis) for axis in _order(factor)))


def _order(factor: Factor) -> list[int]:
    """Axes of a factor as they are arranged."""
    return [*range(factor.side_axes.start), *factor.depth_axes, *factor.side_axes]


def _arranged(factor: Factor, packing: Rearrange) -> tuple[te.Tensor, Factor]:
    """The constant as it is given then, and the factor in terms of that."""
    assert factor.access is not None
    given = factor.access.memory
    (made,) = packing.arrays(ArrayType(tuple(map(nominal, given.shape)), str(given.dtype)))
    memory = te.placeholder(made.shape, made.dtype, name=given.op.name)

    def element(*at: Expr) -> Expr:
        return memory(*(at[axis] for axis in _order(factor))).astype(str(factor.tensor.dtype))

    tensor = te.compute(factor.tensor.shape, element, name="factor")
    return memory, replace(factor, tensor=tensor, access=Access.of(tensor, [memory]))
