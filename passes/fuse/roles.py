"""What an op is to fusion: elementwise, an index op, or an anchor; and how shapes must agree."""

from __future__ import annotations

from typing import TypeGuard

import numpy as np
from xdsl.dialects.builtin import IntegerType, TensorType
from xdsl.ir import Attribute, Operation

from dsc.ir import Fact, OnnxOp, dims_of, element_of, has, is_constant, onnx


def is_elementwise(op: Operation) -> bool:
    """Whether an op is elementwise on tensors; small integers (sizes and axes being computed) do not
    count."""
    return (has(op, Fact.ELEMENTWISE) or quantizes_evenly(op)) and not computes_sizes(op)


def quantizes_evenly(op: Operation) -> bool:
    """Whether an op quantizes or dequantizes a whole tensor by one scale: elementwise, as those by axes and blocks are
    not."""
    if not isinstance(op, (onnx.QuantizeLinear, onnx.DequantizeLinear)):
        return False
    return all(dims_of(v.type) in ((), (1,)) for v in list(op.operands)[1:])


def looks_up_bytes(op: object) -> TypeGuard[OnnxOp]:
    """Whether an op takes elements of a constant vector, one for each byte of a tensor: elementwise, if its table is
    told from its operands."""
    if not isinstance(op, onnx.Gather) or not is_constant(op.data) or len(dims_of(op.data.type) or ()) != 1:
        return False
    index = op.indices.owner
    return isinstance(index, onnx.Cast) and element_of(index.input.type).dtype in (np.int8, np.uint8)


def computes_sizes(op: Operation) -> bool:
    """Whether an op makes integer scalars or vectors: they are mostly shapes, known when the model is
    compiled."""
    type_ = op.results[0].type
    if not isinstance(type_, TensorType):
        return True
    element = type_.element_type
    return type_.get_num_dims() <= 1 and isinstance(element, IntegerType) and element.width.data > 1


def same_dims(a: Attribute, b: Attribute) -> bool:
    """Whether two types certainly have the same dims: equal sizes, or the same names."""
    first, second = dims_of(a), dims_of(b)
    return first is not None and first == second and "" not in first


def broadcasts_into(operand: Attribute, target: Attribute) -> bool:
    """Whether broadcasting a tensor of type `operand` with one of type `target` certainly gives the dims of
    `target`."""
    small, large = dims_of(operand), dims_of(target)
    if small is None or large is None or len(small) > len(large):
        return False
    return all(s == 1 or (s == d and s != "") for s, d in zip(small[::-1], large[::-1], strict=False))
