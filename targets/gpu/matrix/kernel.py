"""The kernel for matrix products and convolutions by instructions on matrices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import TypeAlias

from dsc.lower.exprs import divides
from dsc.lower.exprs import product as count
from dsc.lower.workload import Workload
from dsc.targets.gpu.contraction.factors import Factor
from dsc.targets.gpu.contraction.packing import packed
from dsc.targets.gpu.contraction.source import Contraction, contraction_of
from dsc.targets.gpu.contraction.zero_points import of_bytes
from dsc.targets.gpu.machine import Gpu
from dsc.targets.gpu.matrix.exact import SINGLE, common_type, exact_type
from dsc.targets.gpu.matrix.fragments import Fragments
from dsc.targets.gpu.matrix.instructions import fragments_of
from dsc.targets.gpu.matrix.side import Side
from dsc.targets.gpu.matrix.space import MatrixSpace
from dsc.targets.kernel import Refusal
from dsc.targets.machine import MultiplyAdd

SIGNED, SUM = "int8", "int32"
"""Bytes as every instruction on them takes them, and what they are summed in."""
Instructions: TypeAlias = Mapping[str, tuple[MultiplyAdd, Fragments]]
"""By intrinsic."""


@dataclass(frozen=True)
class ContractMatrices:
    """Matrix products, convolutions and the like of factors that are float16 or bfloat16, or may be rounded to these or
    to tf32, or are float32 where the machine has instructions on matrices of that, with sums in float32, or of bytes
    less zero points, with sums in int32; and an elementwise epilogue. Bytes are multiplied four at a time where the
    machine has no instructions on matrices of them."""

    name: str = "gpu.matrix"

    def match(self, workload: Workload, machine: Gpu) -> MatrixSpace | Refusal:
        """The tilings of the contraction in `workload`."""
        source = contraction_of(workload)
        if isinstance(source, Refusal):
            return source
        if str(source.acc.dtype) == SUM:
            return _of_bytes(source, workload, machine)
        element = multiplied_as(source, workload)
        if isinstance(element, Refusal):
            return element
        found = _instructions(machine, element, element, str(source.acc.dtype))
        if not found:
            return Refusal(f"no instruction on matrices of {element}")
        transposes = any(fragments.load_transposed for _, fragments in found.values())
        source = packed(source, workload, partial(arranged, source.b, element, transposes))
        sides = (
            Side(source.a, source.rows, source.depth, source.params, element),
            Side(source.b, source.columns, source.depth, source.params, element),
        )
        return _space(source, machine, sides, found)


def _space(source: Contraction, machine: Gpu, sides: tuple[Side, Side], found: Instructions) -> MatrixSpace | Refusal:
    space = MatrixSpace(source, machine, sides, found)
    return space if space.points() else Refusal("no tile fits the machine")


def _instructions(machine: Gpu, a: str, b: str, total: str) -> Instructions:
    """Those on matrices, by intrinsic."""
    rows = machine.multiply_adds(a, b, total)
    return {str(row.intrinsic): (row, fragments) for row in rows if (fragments := fragments_of(row)) is not None}


def _of_bytes(source: Contraction, workload: Workload, machine: Gpu) -> MatrixSpace | Refusal:
    """The tilings of a product of integers: of bytes, by instructions on matrices if there are any, with the signs that
    they have, or else as signed ones."""
    made = of_bytes(source, [operand.constant for operand in workload.operands])
    if isinstance(made, Refusal):
        return made
    source, a, b = made
    for is_kind, signs in product((_is_on_matrices, _is_dot), ((a.dtype, b.dtype), (SIGNED, SIGNED))):
        found = {name: made for name, made in _instructions(machine, *signs, SUM).items() if is_kind(made[0])}
        if found:
            source = packed(source, workload, partial(by_line, SIGNED, False))
            sides = (
                Side(source.a, source.rows, source.depth, source.params, signs[0], a.zero),
                Side(source.b, source.columns, source.depth, source.params, signs[1], b.zero),
            )
            return _space(source, machine, sides, found)
    return Refusal("no instruction on several bytes")


def _is_on_matrices(row: MultiplyAdd) -> bool:
    return row.m > 1


def _is_dot(row: MultiplyAdd) -> bool:
    return row.m == 1


def multiplied_as(source: Contraction, workload: Workload) -> str | Refusal:
    """The type in which factors are multiplied: one that both are exact in, or one that they may be rounded to. As
    float32 where they may not be, which few machines have instructions on matrices of."""
    exact = {exact_type(factor.tensor, source.params) for factor in (source.a, source.b)}
    if len(exact) == 1 and exact != {SINGLE}:
        return exact.pop()
    return common_type(exact, workload.multiplied_as)


def arranged(right: Factor, element: str, transposes: bool, factor: Factor) -> list[int] | None:
    """`by_line`, the right factor also where its neighbours are from line to line, if that gives whole chunks of depth:
    then its lines may be multiplied in any order (see `dsc.targets.gpu.matrix.results.is_direct`)."""
    side = Side(factor, (), (), (), element)
    deep = count(factor.sizes[axis] for axis in factor.depth_axes)
    return by_line(element, transposes and not (factor is right and divides(side.chunk, deep)), factor)


def by_line(element: str, transposes: bool, factor: Factor) -> list[int] | None:
    """``[batch.., rows or columns.., depth..]``, so that chunks are loaded at once; None where they are already."""
    side = Side(factor, (), (), (), element)
    if side.together_in_depth == side.chunk or (transposes and side.together_in_lines == side.chunk):
        return None
    return [*range(factor.side_axes.start), *factor.side_axes, *factor.depth_axes]
