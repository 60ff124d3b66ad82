"""sparsity: the types of weights say where they have zeros, so that kernels need not multiply them.

Models that were pruned anywhere are recognized: zeros are counted. It comes after regions are formed, which may put
weights together, and changes types alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from dsc.errors import UsageError
from dsc.ir import FusionOp, Graph, OnnxOp, SparseAttr, WeightOp, encoding_of, onnx, shape_of
from dsc.ir.types import with_encoding
from dsc.passes.base import Pass, PassRecord
from dsc.passes.sparsity.patterns import zeros_of
from dsc.passes.sparsity.regions import outside
from dsc.sparsity import sparsity

_PRODUCTS = onnx.MatMul | onnx.Gemm | onnx.MatMulInteger
_CONVOLUTIONS = onnx.Conv | onnx.ConvInteger
SMALLEST = 1024
"""Elements of a weight that is worth a look."""


@dataclass(frozen=True)
class Sparsity(Pass):
    """Tells for each weight that is multiplied which blocks of outputs have zeros, and how many do.

    least: the share of zeros from which a weight counts as sparse.
    """

    name: ClassVar[str] = "sparsity"

    least: float = 0.15

    def apply(self, graph: Graph, record: PassRecord) -> None:
        if not 0 < self.least <= 1:
            raise UsageError(f"sparsity: least is a share above 0 and up to 1, not {self.least}")
        for op, weight, axis in _factors(graph):
            if encoding_of(weight.out.type) is not None:
                continue
            data = graph.weights.get(weight.weight)
            share = sparsity(data)
            if share < self.least:
                record.miss("w => w : #dsc.sparse", op, _band(share))
                continue
            zeros = zeros_of(data, axis)
            _state(weight, SparseAttr.of(zeros.pattern, axis, zeros.density))
            record.fire(f"w => w : #dsc.sparse<{zeros.pattern}>")


def _band(share: float) -> str:
    """The reason why a weight is none, alike for many."""
    return "no zeros" if share == 0 else "fewer than 1 % are zeros" if share < 0.01 else "few are zeros"


def _factors(graph: Graph) -> Iterator[tuple[OnnxOp, WeightOp, int]]:
    """The weights that products and convolutions multiply, each with the axis of its outputs."""
    for outer in graph.ops():
        for op in outer.block.ops if isinstance(outer, FusionOp) else (outer,):
            if isinstance(op, _PRODUCTS | _CONVOLUTIONS):
                weight = outside(outer, op.operands[1]).owner
                rows = isinstance(op, _CONVOLUTIONS) or (isinstance(op, onnx.Gemm) and op.attr("transB", 0))
                axis = 0 if rows else 1
                if isinstance(weight, WeightOp) and _counts(graph, op, weight):
                    yield op, weight, axis


def _counts(graph: Graph, op: OnnxOp, weight: WeightOp) -> bool:
    shape = shape_of(weight.out.type) or ()
    dtype = graph.weights.dtype(weight.weight)
    taken = dtype == np.int8 or np.issubdtype(dtype, np.floating)
    return taken and math.prod(shape) >= SMALLEST and (isinstance(op, _CONVOLUTIONS) or len(shape) == 2)


def _state(weight: WeightOp, encoding: SparseAttr) -> None:
    """Puts it on the type of a weight, inside of regions too."""
    type_ = with_encoding(weight.out.type, encoding)
    weight.out._type = type_
    for use in weight.out.uses:
        if isinstance(use.operation, FusionOp):
            use.operation.block.args[use.index]._type = type_
