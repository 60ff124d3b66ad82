"""Half precision in float32, rounded where the model has it.

ONNX Runtime on CPUs has no kernels of bfloat16, and computes float16 in float32 without rounding between operators.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
import onnx.helper
import onnx.numpy_helper

from dsc.quantize.nodes import QdqNodes
from dsc.quantize.reduced.halves import HALVES, element_codes

_CODES = frozenset(element.code for element in HALVES.values())


def emulated(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with its tensors of half precision as float32 that is rounded where one is made; itself without any.

    Inputs and outputs are to be other types.
    """
    if not _has_halves(model):
        return model
    codes, make = element_codes(model), QdqNodes(model)
    made = onnx.ModelProto()
    made.CopyFrom(model)
    del made.graph.node[:]
    for node in model.graph.node:
        made.graph.node.extend(_rounding(node, codes, make))
    del made.graph.value_info[:]
    for tensor in made.graph.initializer:
        if tensor.data_type in _CODES:
            array = onnx.numpy_helper.to_array(tensor).astype(np.float32)
            tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))
    return made


def _rounding(node: onnx.NodeProto, codes: Mapping[str, int], make: QdqNodes) -> list[onnx.NodeProto]:
    """The node on float32, and two Casts behind each result that is half precision in the model."""
    copied = onnx.NodeProto()
    copied.CopyFrom(node)
    nodes = [copied]
    for index, name in enumerate(node.output):
        if codes.get(name) not in _CODES:
            continue
        half = copied.output[index] = make.fresh(f"{name}_half")
        if node.op_type != "Cast":
            copied.output[index] = make.fresh(f"{name}_exact")
            nodes.append(onnx.helper.make_node("Cast", [copied.output[index]], [half], to=codes[name]))
        nodes.append(onnx.helper.make_node("Cast", [half], [name], to=onnx.TensorProto.FLOAT))
    return nodes


def _has_halves(model: onnx.ModelProto) -> bool:
    """A Cast makes the first of them, or a constant is one."""
    casts = {a.i for node in model.graph.node if node.op_type == "Cast" for a in node.attribute if a.name == "to"}
    return bool(_CODES & casts) or any(tensor.data_type in _CODES for tensor in model.graph.initializer)
