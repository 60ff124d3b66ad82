"""Which tensors are likely to have many zeros, by what makes them: no number is known when a model is compiled."""

from __future__ import annotations

import numpy as np
from xdsl.ir import Operation, SSAValue

from dsc.ir import Fact, FusionOp, Graph, OnnxOp, element_of, has, onnx
from dsc.passes.sparsity.regions import outside

HALF = 0.5
"""Of what is cut off at 0, and of masks: Relu leaves a half of what is as often positive as negative, and models that
were trained with it mostly fewer."""
TAIL = 0.1
"""Of what is cut off at -3."""
FEW_LEFT = 0.9
"""Of zeros in which a few elements were put."""

_KEEPS_ZEROS = onnx.Neg | onnx.Abs | onnx.Sqrt | onnx.Sign | onnx.Div | onnx.Pow | onnx.Cast
_HARD = onnx.HardSwish | onnx.HardSigmoid
_SCATTERS = onnx.ScatterElements | onnx.ScatterND


def expected_zeros(graph: Graph, value: SSAValue) -> float:
    """The share of the elements of a tensor that may be expected to be 0; 0 where nothing tells."""
    op = value.owner
    if isinstance(op, FusionOp):
        return expected_zeros(graph, op.block.last_op.operands[op.results.index(value)])  # type: ignore[union-attr]
    if not isinstance(op, Operation):
        region = op.parent_op()
        return expected_zeros(graph, outside(region, value)) if isinstance(region, FusionOp) else 0.0
    return _made_by(graph, op) if isinstance(op, OnnxOp) else 0.0


def _made_by(graph: Graph, op: OnnxOp) -> float:
    if isinstance(op, onnx.Cast) and _is_bool(op.input):
        return HALF
    if has(op, Fact.MOVES) or isinstance(op, _KEEPS_ZEROS):
        return expected_zeros(graph, op.operands[0])
    if isinstance(op, onnx.Mul):
        return max(expected_zeros(graph, operand) for operand in op.operands)
    if isinstance(op, _HARD):
        return TAIL
    if isinstance(op, onnx.OneHot):
        return FEW_LEFT if _is_zero(graph, op.values, 0) else 0.0
    if isinstance(op, _SCATTERS):
        return FEW_LEFT if _is_zero(graph, op.data) else 0.0
    return HALF if _cuts_off(graph, op) else 0.0


def _cuts_off(graph: Graph, op: OnnxOp) -> bool:
    """Whether what is below (or above) 0, or not chosen, becomes 0."""
    if isinstance(op, onnx.Clip):
        return any(bound is not None and _is_zero(graph, bound) for bound in (op.min, op.max))
    if isinstance(op, onnx.Max | onnx.Min | onnx.Where):
        return any(_is_zero(graph, operand) for operand in op.operands)
    return isinstance(op, onnx.Relu | onnx.ThresholdedRelu | onnx.Shrink)


def _is_bool(value: SSAValue) -> bool:
    return element_of(value.type).dtype == np.bool_


def _is_zero(graph: Graph, value: SSAValue, *index: int) -> bool:
    """Whether it is a constant whose elements, or the one at an index, are all 0."""
    array = graph.constant(_known(value))
    return array is not None and array.size > 0 and not np.any(array[index])


def _known(value: SSAValue) -> SSAValue:
    """What a value of a region is outside of it, where it is an input."""
    region = None if isinstance(value.owner, Operation) else value.owner.parent_op()
    return outside(region, value) if isinstance(region, FusionOp) else value
