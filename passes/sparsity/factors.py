"""The constant weights that products and convolutions multiply by."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from xdsl.ir import Operation

from dsc.ir import FusionOp, Graph, OnnxOp, WeightOp, onnx, shape_of
from dsc.passes.sparsity.patterns import FOURS
from dsc.passes.sparsity.regions import outside

_PRODUCTS = (onnx.MatMul, onnx.Gemm, onnx.MatMulInteger)
_CONVOLUTIONS = (onnx.Conv, onnx.ConvInteger)


@dataclass(frozen=True)
class Factor:
    """A weight, and what multiplies by it."""

    op: OnnxOp
    outer: Operation
    """The region that the operator is in, or the operator."""
    weight: WeightOp
    axis: int
    """Of the weight's outputs."""

    @property
    def depths(self) -> Sequence[int]:
        """Inputs of the blocks that kernels have a use for, besides one: products of bytes multiply four at once."""
        return FOURS if isinstance(self.op, onnx.MatMulInteger) else ()


def factors(graph: Graph, through_casts: bool = False) -> Iterator[Factor]:
    """All weights that are matrices, or filters of convolutions, in the order of what multiplies by them.

    through_casts: those as well that are kept in another type than they are multiplied in.
    """
    for outer in graph.ops():
        for op in outer.block.ops if isinstance(outer, FusionOp) else (outer,):
            if isinstance(op, OnnxOp) and isinstance(op, (*_PRODUCTS, *_CONVOLUTIONS)):
                value = op.operands[1]
                while through_casts and isinstance(value.owner, onnx.Cast):
                    value = value.owner.operands[0]
                weight = outside(outer, value).owner
                if isinstance(weight, WeightOp) and (_is_filter(op) or len(shape_of(weight.out.type) or ()) == 2):
                    yield Factor(op, outer, weight, _outputs_axis(op))


def _is_filter(op: OnnxOp) -> bool:
    """Whether the weight of an operator is one of a convolution."""
    return isinstance(op, _CONVOLUTIONS)


def _outputs_axis(op: OnnxOp) -> int:
    """The axis of a weight's outputs, by what multiplies by it."""
    rows = _is_filter(op) or (isinstance(op, onnx.Gemm) and op.attr("transB", 0))
    return 0 if rows else 1
