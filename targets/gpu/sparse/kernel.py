"""The kernel for products by a constant that is mostly zeros, in blocks of outputs."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from tvm import te

from dsc.ir import SparseAttr
from dsc.lower.workload import Workload
from dsc.targets.gpu.contraction.factors import Factor
from dsc.targets.gpu.contraction.packing import constant_input
from dsc.targets.gpu.contraction.source import Contraction, contraction_of
from dsc.targets.gpu.contraction.zero_points import BYTES, of_bytes
from dsc.targets.gpu.machine import Gpu
from dsc.targets.gpu.matrix.exact import SINGLE, TF32
from dsc.targets.gpu.matrix.instructions import fragments_of
from dsc.targets.gpu.matrix.kernel import SIGNED, SUM, multiplied_as
from dsc.targets.gpu.matrix.mma_sync import MmaSync
from dsc.targets.gpu.matrix.side import PAIR, Side
from dsc.targets.gpu.sparse.elements import Elements
from dsc.targets.gpu.sparse.gathering import Gathering
from dsc.targets.gpu.sparse.matrix_cores import MatrixCores
from dsc.targets.gpu.sparse.packing import View
from dsc.targets.gpu.sparse.space import SparseSpace
from dsc.targets.gpu.sparse.tensor_cores import TensorCores
from dsc.targets.kernel import Refusal
from dsc.targets.machine import MultiplyAdd

BYTES_OF_WORD = 4
TALL, WIDE = (4, 2, 1), (4, 8, 16)
"""Rows, and outputs, that a thread multiplies where there are ordinary multiply-adds."""


@dataclass(frozen=True)
class SparseMatmul:
    """Matrix products, and convolutions, by a weight whose type says that few of its inputs are kept, with an
    elementwise epilogue: halves, and bytes less zero points, by instructions on matrices, float32 by ordinary
    multiply-adds. Sums are float32, or int32."""

    skips_zeros: ClassVar[bool] = True
    name: str = "gpu.sparse_matmul"

    def match(self, workload: Workload, machine: Gpu) -> SparseSpace | Refusal:
        """The tilings of the contraction in `workload`."""
        found = sparse_product(workload)
        if isinstance(found, Refusal):
            return found
        weight = found.weight
        for side in found.sides:
            instructions = tuple(_gatherings(machine, side.element, weight.element, str(found.source.acc.dtype)))
            if instructions:
                space = SparseSpace(
                    found.source, side, weight.index, weight.view, weight.encoding, machine, instructions
                )
                return space if space.points() else Refusal("no tile fits the machine")
        return Refusal(f"no instruction on matrices of {found.sides[0].element}")


@dataclass(frozen=True)
class SparseWeight:
    """The right factor of a contraction."""

    index: int
    """Among the inputs."""
    encoding: SparseAttr
    """Where it has zeros."""
    view: View
    element: str
    """The type in which it is multiplied."""


@dataclass(frozen=True)
class SparseProduct:
    """A contraction whose right factor is a weight with zeros."""

    source: Contraction
    sides: tuple[Side, ...]
    """The left factor, in the types in which it may be multiplied, the best first."""
    weight: SparseWeight


def sparse_product(workload: Workload) -> SparseProduct | Refusal:
    """The contraction in `workload`, or why it is none by a weight with zeros."""
    if not any(isinstance(operand.encoding, SparseAttr) for operand in workload.operands):
        return Refusal("no weight with a pattern of zeros")
    source = contraction_of(workload)
    if isinstance(source, Refusal):
        return source
    zero: te.Tensor | None = None
    is_integer = str(source.acc.dtype) == SUM
    if is_integer:
        made = of_bytes(source, [operand.constant for operand in workload.operands])
        if isinstance(made, Refusal):
            return made
        source, zero = made[0], made[1].zero
        if made[2].zero is not None:
            return Refusal("a weight with zero points")
    element = str(source.b.tensor.dtype) if is_integer else _multiplied_as(source, workload)
    if isinstance(element, Refusal):
        return element
    weight = _sparse_weight(source, workload, element)
    if isinstance(weight, Refusal):
        return weight
    elements = (str(source.a.tensor.dtype), SIGNED) if is_integer else (element,)
    sides = [Side(source.a, source.rows, source.depth, source.params, each, zero) for each in elements]
    if is_integer and sides[0].is_window:
        return Refusal("an image whose padding are zero points")
    return SparseProduct(source, tuple(sides), weight)


def _sparse_weight(source: Contraction, workload: Workload, element: str) -> SparseWeight | Refusal:
    """The right factor, if its type says where it has zeros, by outputs, and nothing else reads it."""
    if source.batch:
        return Refusal("a weight for each of a batch, or of a group")
    index = constant_input(source, workload, source.b, source.a)
    encoding = None if index is None else workload.operands[index].encoding
    if index is None or not isinstance(encoding, SparseAttr):
        return Refusal("what is sparse is not the right factor alone")
    if not _is_by_outputs(source.b, encoding.axis.data):
        return Refusal("zeros are in blocks of inputs")
    if Side(source.b, source.columns, source.depth, source.params, element).is_converted:
        return Refusal(f"the weight is not kept in {element}")
    access = source.b.access
    assert access is not None  # see constant_input
    sizes, steps = (tuple(int(each) for each in given) for given in (access.sizes, access.steps))
    return SparseWeight(index, encoding, View(sizes, steps, int(source.n)), element)


def _multiplied_as(source: Contraction, workload: Workload) -> str | Refusal:
    """The type in which both factors are multiplied: one that both are exact in, or may be rounded to, but for tf32:
    float32, then."""
    element = multiplied_as(source, workload)
    return SINGLE if element == TF32 else element


def _is_by_outputs(weight: Factor, axis: int) -> bool:
    """Whether the outputs of which blocks are made are the columns, in that order."""
    access = weight.access
    assert access is not None  # see constant_input
    shape = [int(size) for size in access.memory.shape]
    steps = [int(access.steps[i]) for i in weight.side_axes]
    columns = math.prod(int(weight.sizes[i]) for i in weight.side_axes)
    in_order = steps == sorted(steps, reverse=True)
    return in_order and steps[-1] == math.prod(shape[axis + 1 :]) and columns == shape[axis]


def _gatherings(machine: Gpu, a: str, b: str, total: str) -> Iterator[tuple[MultiplyAdd, Gathering]]:
    """The ways to multiply elements of these types."""
    for row in machine.multiply_adds(a, b, total):
        fragments = fragments_of(row)
        if a == SINGLE and row.m == row.k == 1:
            yield from ((row, Elements(machine.warp, tall, wide)) for tall in TALL for wide in WIDE)
            return
        if a == SINGLE or fragments is None:
            continue
        if isinstance(fragments, MmaSync) and a not in BYTES:
            yield row, TensorCores(fragments.interleaved)
        else:
            per_word = BYTES_OF_WORD if a in BYTES else PAIR
            yield row, MatrixCores(fragments.interleaved or fragments, per_word, str(row.intrinsic), machine.warp)
