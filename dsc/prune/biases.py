"""What is added to a layer's outputs so that their means are those of the float model."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.numpy_helper

from dsc.exchange.names import unique
from dsc.quantize.layers import Layer


def shift_bias(model: onnx.ModelProto, layer: Layer, shift: np.ndarray) -> str:
    """Add a number for each output channel to a layer's bias, or to that of the Add behind it; a layer that has none
    gets one. Other readers of the bias keep it as it was. layer: one that takes a shift. Gives the tensor that the node
    with the bias makes.
    """
    node = next(node for node in model.graph.node if node.name == (layer.bias.node if layer.bias else layer.name))
    known = {tensor.name: tensor for tensor in model.graph.initializer}
    bias = "" if layer.bias is None else layer.bias.tensor
    before = onnx.numpy_helper.to_array(known[bias]) if bias else 0.0
    array = (before + shift).astype(np.float32)
    name = unique(bias or f"{layer.name}_bias", names_of(model))
    model.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    if bias:
        node.input[list(node.input).index(bias)] = name
    else:
        node.input[:] = [*node.input[:2], name]
    return str(node.output[0])


def names_of(model: onnx.ModelProto) -> set[str]:
    """Of all tensors of the graph."""
    made = {name for node in model.graph.node for name in (*node.input, *node.output)}
    return made | {each.name for each in (*model.graph.initializer, *model.graph.input)}
