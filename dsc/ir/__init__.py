"""The IR: a model is a `Graph`: an MLIR module of `onnx` and `dsc` ops, and a `WeightStore`.

>>> from dsc.ir import Graph, onnx
>>> graph = Graph.build([("x", tensor("float32", (1, 8)))])
>>> relu = onnx.Relu.make(graph.inputs[0])
>>> graph.body.add_op(relu)
>>> graph.set_outputs([("y", relu.out)])
"""

from __future__ import annotations

from dsc.ir import onnx
from dsc.ir.dialect import (
    FusionOp,
    KeptKeys,
    PackOp,
    UnpackOp,
    WeightOp,
    YieldOp,
    attention_keep,
    attention_window,
    expected_zeros,
    is_constant,
    multiplied_as,
    packed_type,
    set_attention_keep,
    set_attention_window,
    set_expected_zeros,
    set_multiplied_as,
    unpacked_type,
)
from dsc.ir.graph import SMALL_CONSTANT, Graph, context, name_hint
from dsc.ir.onnx import (
    OPERATORS,
    OPSET,
    Fact,
    OnnxOp,
    constant_value,
    encoding_parameters,
    has,
    operator_name,
    register_operator,
)
from dsc.ir.rounded import rounded_between
from dsc.ir.types import (
    DYNAMIC,
    DimsAttr,
    ElementType,
    SparseAttr,
    dims_of,
    element_of,
    element_of_dtype,
    encoding_of,
    shape_of,
    tensor,
    with_elements,
)
from dsc.ir.verify import describe, op_text
from dsc.ir.weights import WeightStore

__all__ = [
    "DYNAMIC",
    "OPERATORS",
    "OPSET",
    "SMALL_CONSTANT",
    "DimsAttr",
    "ElementType",
    "Fact",
    "FusionOp",
    "Graph",
    "KeptKeys",
    "OnnxOp",
    "PackOp",
    "SparseAttr",
    "UnpackOp",
    "WeightOp",
    "WeightStore",
    "YieldOp",
    "attention_keep",
    "attention_window",
    "constant_value",
    "context",
    "describe",
    "dims_of",
    "element_of",
    "element_of_dtype",
    "encoding_of",
    "encoding_parameters",
    "expected_zeros",
    "has",
    "is_constant",
    "multiplied_as",
    "name_hint",
    "onnx",
    "op_text",
    "operator_name",
    "packed_type",
    "register_operator",
    "rounded_between",
    "set_attention_keep",
    "set_attention_window",
    "set_expected_zeros",
    "set_multiplied_as",
    "shape_of",
    "tensor",
    "unpacked_type",
    "with_elements",
]
