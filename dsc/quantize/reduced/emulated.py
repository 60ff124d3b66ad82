"""A model of bfloat16 in float32 with the roundings of bfloat16, for runtimes without kernels of it."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.helper
import onnx.numpy_helper

from dsc.quantize.nodes import QdqNodes
from dsc.quantize.reduced.halves import HALVES, element_codes

_CODE = HALVES["bf16"].code


def emulated(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with its bfloat16 tensors inside as float32 that is rounded where one is made; itself without any.

    Inputs and outputs are to be other types.
    """
    if not _has_bfloat16(model):
        return model
    codes, make = element_codes(model), QdqNodes(model)
    made = onnx.ModelProto()
    made.CopyFrom(model)
    nodes: list[onnx.NodeProto] = []
    for node in made.graph.node:
        halves = [index for index, name in enumerate(node.output) if codes.get(name) == _CODE]
        copied = onnx.NodeProto()
        copied.CopyFrom(node)
        nodes.append(copied)
        for index in halves:
            name = node.output[index]
            if node.op_type == "Cast":
                copied.output[index] = make.fresh(f"{name}_half")
            else:
                copied.output[index], half = make.fresh(f"{name}_exact"), make.fresh(f"{name}_half")
                nodes.append(onnx.helper.make_node("Cast", [copied.output[index]], [half], to=_CODE))
            nodes.append(onnx.helper.make_node("Cast", [nodes[-1].output[0]], [name], to=onnx.TensorProto.FLOAT))
    del made.graph.node[:]
    made.graph.node.extend(nodes)
    del made.graph.value_info[:]
    for tensor in made.graph.initializer:
        if tensor.data_type == _CODE:
            array = onnx.numpy_helper.to_array(tensor).astype(np.float32)
            tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))
    return made


def _has_bfloat16(model: onnx.ModelProto) -> bool:
    """A Cast makes the first of them, or a constant is one."""
    casts = (a.i for node in model.graph.node if node.op_type == "Cast" for a in node.attribute if a.name == "to")
    return _CODE in casts or any(tensor.data_type == _CODE for tensor in model.graph.initializer)
