"""Models of float32 as models of half precision, as converters write them: weights rounded, inputs and outputs too."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import AttributeProto, TensorProto, numpy_helper

from dsc.ir import element_of_dtype


def halved(model: onnx.ModelProto, dtype: np.dtype | type) -> onnx.ModelProto:
    """A copy of a model without bodies of control flow, with `dtype` in place of float32 everywhere."""
    made = onnx.ModelProto()
    made.CopyFrom(model)
    code = element_of_dtype(dtype).code
    for weight in made.graph.initializer:
        _round(weight, dtype)
    for value in (*made.graph.input, *made.graph.output, *made.graph.value_info):
        if value.type.tensor_type.elem_type == TensorProto.FLOAT:
            value.type.tensor_type.elem_type = code
    for node in made.graph.node:
        for attribute in node.attribute:
            if attribute.type == AttributeProto.TENSOR:
                _round(attribute.t, dtype)
            elif node.op_type == "Cast" and attribute.name == "to" and attribute.i == TensorProto.FLOAT:
                attribute.i = code
    return made


def _round(tensor: TensorProto, dtype: np.dtype | type) -> None:
    if tensor.data_type == TensorProto.FLOAT:
        name, array = tensor.name, numpy_helper.to_array(tensor)
        tensor.CopyFrom(numpy_helper.from_array(array.astype(dtype), name))
