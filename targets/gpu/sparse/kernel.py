"""The kernel for products by a constant that is mostly zeros, in blocks of outputs."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from dsc.ir import SparseAttr
from dsc.lower.workload import Workload
from dsc.sparsity import Pattern
from dsc.targets.gpu.contraction.factors import Factor
from dsc.targets.gpu.contraction.packing import constant_input
from dsc.targets.gpu.contraction.source import Contraction, contraction_of
from dsc.targets.gpu.machine import Gpu
from dsc.targets.gpu.matrix.exact import SINGLE, TF32
from dsc.targets.gpu.matrix.instructions import fragments_of
from dsc.targets.gpu.matrix.kernel import SUM, multiplied_as
from dsc.targets.gpu.matrix.mma_sync import MmaSync
from dsc.targets.gpu.matrix.side import Side
from dsc.targets.gpu.sparse.elements import Elements
from dsc.targets.gpu.sparse.gathering import Gathering
from dsc.targets.gpu.sparse.matrix_cores import MatrixCores
from dsc.targets.gpu.sparse.packing import View
from dsc.targets.gpu.sparse.space import SparseSpace
from dsc.targets.gpu.sparse.tensor_cores import TensorCores
from dsc.targets.kernel import Refusal
from dsc.targets.machine import MultiplyAdd

TALL, WIDE = (4, 2, 1), (4, 8, 16)
"""Rows, and outputs, that a thread multiplies where there are ordinary multiply-adds."""


@dataclass(frozen=True)
class SparseMatmul:
    """Matrix products, and convolutions, by a weight whose type says that few of its inputs are kept, with an
    elementwise epilogue: halves by instructions on matrices, float32 by ordinary multiply-adds. Sums are float32."""

    name: str = "gpu.sparse_matmul"

    def match(self, workload: Workload, machine: Gpu) -> SparseSpace | Refusal:
        """The tilings of the contraction in `workload`."""
        if not any(isinstance(operand.encoding, SparseAttr) for operand in workload.operands):
            return Refusal("no weight with a pattern of zeros")
        source = contraction_of(workload)
        if isinstance(source, Refusal):
            return source
        found = _weight(source, workload)
        if isinstance(found, Refusal):
            return found
        index, encoding = found
        element = _multiplied_as(source, workload)
        if isinstance(element, Refusal):
            return element
        instructions = tuple(_gatherings(machine, element))
        if not instructions:
            return Refusal(f"no instruction on matrices of {element}")
        side = Side(source.a, source.rows, source.depth, source.params, element)
        if Side(source.b, source.columns, source.depth, source.params, element).is_converted:
            return Refusal(f"the weight is not kept in {element}")
        access = source.b.access
        assert access is not None  # see constant_input
        sizes, steps = ([int(each) for each in given] for given in (access.sizes, access.steps))
        view = View(tuple(sizes), tuple(steps), int(source.n))
        space = SparseSpace(source, side, index, view, encoding, machine, instructions)
        return space if space.points() else Refusal("no tile fits the machine")


def _weight(source: Contraction, workload: Workload) -> tuple[int, SparseAttr] | Refusal:
    """Which input is the right factor, and where it has zeros."""
    if source.batch:
        return Refusal("a weight for each of a batch, or of a group")
    index = constant_input(source, workload, source.b, source.a)
    encoding = None if index is None else workload.operands[index].encoding
    if index is None or not isinstance(encoding, SparseAttr):
        return Refusal("what is sparse is not the right factor alone")
    if Pattern.parse(encoding.pattern.data).limit is not None:
        return Refusal("so many of each few inputs are kept: of several outputs together, that is most of them")
    return (index, encoding) if _is_by_outputs(source.b, encoding.axis.data) else Refusal("zeros are in blocks of inputs")


def _is_by_outputs(weight: Factor, axis: int) -> bool:
    """Whether the outputs of which blocks are made are the columns, in that order."""
    access = weight.access
    assert access is not None  # see constant_input
    shape = [int(size) for size in access.memory.shape]
    steps = [int(access.steps[i]) for i in weight.side_axes]
    columns = math.prod(int(weight.sizes[i]) for i in weight.side_axes)
    in_order = steps == sorted(steps, reverse=True)
    return in_order and steps[-1] == math.prod(shape[axis + 1 :]) and columns == shape[axis]


def _multiplied_as(source: Contraction, workload: Workload) -> str | Refusal:
    """float16 or bfloat16 where both are exact in it or may be rounded to it; else float32, as it is."""
    if str(source.acc.dtype) == SUM:
        return Refusal("a product of integers")
    element = multiplied_as(source, workload)
    return SINGLE if element == TF32 else element


def _gatherings(machine: Gpu, element: str) -> Iterator[tuple[MultiplyAdd, Gathering]]:
    """The ways to multiply elements of a type."""
    for row in machine.multiply_adds(element, element, SINGLE):
        fragments = fragments_of(row)
        if element == SINGLE and row.m == row.k == 1:
            yield from ((row, Elements(machine.warp, tall, wide)) for tall in TALL for wide in WIDE)
            return
        if element == SINGLE or fragments is None:
            continue
        if isinstance(fragments, MmaSync):
            yield row, TensorCores(fragments.interleaved)
        else:
            yield row, MatrixCores(str(row.intrinsic), fragments, machine.warp)
