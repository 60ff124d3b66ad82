"""What may be quantized: the products of a model, and how many multiplications each takes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx

from dsc.quantize.network import Network, attribute

PRODUCTS = ("Conv", "ConvTranspose", "Gemm", "MatMul")


@dataclass(frozen=True)
class Bias:
    """What is added to a product for each output channel: a constant, and the node that reads it."""

    tensor: str
    node: str


@dataclass(frozen=True)
class Layer:
    """A product, by the name of its node.

    data, weight, output: tensors. channels: the axis of the weight that is the output's channels. takes_shift: whether
    a number for each channel can be added: to a bias that is a vector, or as one. refusal: why it has no form in
    bytes, in words; None where it has one.
    """

    name: str
    op: str
    data: str
    weight: str
    output: str
    bias: Bias | None
    channels: int
    takes_shift: bool
    refusal: str | None

    @property
    def output_axis(self) -> int:
        """The axis of the output that is its channels."""
        return 1 if self.op == "Conv" else -1

    @property
    def data_axis(self) -> int:
        """The axis of its data that is channels: what is one in the output is one there."""
        return self.output_axis


def weight_of(network: Network, layer: Layer) -> np.ndarray:
    """The constant weight of a layer that has a form in bytes."""
    weight = network.constant(layer.weight)
    assert weight is not None  # else the layer has a refusal
    return weight


def find_layers(network: Network) -> list[Layer]:
    """The products of a model, in the order in which they are computed."""
    return [_layer(network, node) for node in network.nodes if node.op_type in PRODUCTS and not node.domain]


def _layer(network: Network, node: onnx.NodeProto) -> Layer:
    channels = 0 if node.op_type == "Conv" or attribute(node, "transB", 0) else 1
    data, weight = node.input[:2]
    refusal = _refusal(network, node)
    bias = None if refusal else _bias(network, node, channels)
    has_none = node.op_type != "MatMul" and not (len(node.input) > 2 and node.input[2])
    takes_shift = bias is not None or has_none
    return Layer(node.name, node.op_type, data, weight, node.output[0], bias, channels, takes_shift, refusal)


def _refusal(network: Network, node: onnx.NodeProto) -> str | None:
    """Why a product cannot be one of bytes with a scale for each output channel."""
    weight = network.constant(node.input[1])
    if node.op_type == "ConvTranspose":
        return "no integer form"
    if weight is None:
        is_reversed = network.constant(node.input[0]) is not None
        return "its weight is the first factor" if is_reversed else "both factors are computed"
    if network.constant(node.input[0]) is not None:
        return "it is constant"
    if weight.dtype != np.float32:
        return f"its weights are {weight.dtype}"
    if not np.isfinite(weight).all():
        return "its weights are not finite"
    if node.op_type == "MatMul" and weight.ndim != 2:
        return "its weight is no matrix"
    if node.op_type == "Gemm" and (attribute(node, "transA", 0) or not _is_plain(node)):
        return "it is more than a product and a sum"
    return None


def _is_plain(gemm: onnx.NodeProto) -> bool:
    return all(a.f == 1 for a in gemm.attribute if a.name in ("alpha", "beta"))


def _bias(network: Network, node: onnx.NodeProto, channels: int) -> Bias | None:
    """The bias that a layer has itself, or that the Add behind it, which alone reads the product, has."""
    weight = network.constant(node.input[1])
    assert weight is not None  # it was checked
    count = weight.shape[channels]
    if node.op_type != "MatMul":
        has_one = len(node.input) > 2 and _is_vector(network, node.input[2], count)
        return Bias(node.input[2], node.name) if has_one else None
    readers = network.consumers[node.output[0]]
    if len(readers) != 1 or readers[0].op_type != "Add" or node.output[0] in network.outputs:
        return None
    other = next((name for name in readers[0].input if name != node.output[0]), "")
    return Bias(other, readers[0].name) if _is_vector(network, other, count) else None


def _is_vector(network: Network, name: str, count: int) -> bool:
    array = network.constant(name)
    return array is not None and array.shape == (count,) and array.dtype == np.float32


def count_macs(network: Network, layers: list[Layer], shapes: Mapping[str, tuple[int, ...]]) -> dict[str, int]:
    """Multiply-adds of each layer, by its name.

    shapes: of the layers' data and outputs, and of weights that are computed, as they are in a run.
    """
    nodes = {node.name: node for node in network.nodes}
    return {layer.name: _macs(network, nodes[layer.name], layer, shapes) for layer in layers}


def _macs(network: Network, node: onnx.NodeProto, layer: Layer, shapes: Mapping[str, tuple[int, ...]]) -> int:
    constant = network.constant(layer.weight)
    weight = shapes[layer.weight] if constant is None else constant.shape
    if layer.op == "ConvTranspose":  # each input element meets each tap of each output channel of its group
        return math.prod(shapes[layer.data]) * math.prod(weight[1:])
    if layer.op == "Conv":
        return math.prod(shapes[layer.output]) * math.prod(weight[1:])
    if layer.op == "Gemm":
        return math.prod(shapes[layer.output]) * weight[1 if attribute(node, "transB", 0) else 0]
    return math.prod(shapes[layer.output]) * weight[-2 if len(weight) > 1 else 0]
