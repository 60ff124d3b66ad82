"""A layer in bytes: its weight and its bias, and the nodes that stand for them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx

from dsc.quantize.grid import Grid, bias_steps, weight_grid, widened_for_bias
from dsc.quantize.layers import Layer, weight_of
from dsc.quantize.network import Network
from dsc.quantize.nodes import QdqNodes
from dsc.quantize.scheme import StaticScheme


@dataclass(frozen=True)
class QuantizedLayer:
    """The bytes of a layer's weight, and its bias in float32 (corrected), for data on a grid."""

    layer: Layer
    data: Grid
    grid: Grid
    weight: np.ndarray
    bias: np.ndarray | None


def quantize_layer(
    network: Network,
    layer: Layer,
    data: Grid,
    scheme: StaticScheme,
    shift: np.ndarray | None = None,
    rounded: np.ndarray | None = None,
) -> QuantizedLayer:
    """A layer's weight and bias in bytes.

    shift: added to the bias of each output channel, where there can be one. rounded: the bytes of the weight, where
    these are not the nearest ones.
    """
    weight = weight_of(network, layer)
    bias = None if layer.bias is None else network.constant(layer.bias.tensor)
    grid = layer_grid(network, layer, data, scheme)
    if shift is not None and layer.takes_shift:
        bias = shift if bias is None else bias + shift
    bytes_ = grid.quantized(weight) if rounded is None else rounded
    return QuantizedLayer(layer, data, grid, bytes_, None if bias is None else bias.astype(np.float32))


def layer_grid(network: Network, layer: Layer, data: Grid, scheme: StaticScheme) -> Grid:
    """The grid of a layer's weight. A shift of its bias is a few steps for each byte of data: there is room."""
    weight = weight_of(network, layer)
    bias = None if layer.bias is None else network.constant(layer.bias.tensor)
    grid = weight_grid(weight, layer.channels if scheme.per_channel else None, scheme.weight_bits)
    return grid if bias is None else widened_for_bias(grid, bias, float(data.scale))


def rewired(quantized: QuantizedLayer, node: onnx.NodeProto, data: str, make: QdqNodes) -> list[onnx.NodeProto]:
    """The node of the layer, reading `data` and the dequantized weight, after the nodes that make these.

    A bias of its own becomes int32 in the scale of the sums; that of an Add behind it is the Add's.
    """
    layer = quantized.layer
    weight, dequantized = make.constant(layer.weight, quantized.weight, quantized.grid)
    made, copied = [dequantized], onnx.NodeProto()
    copied.CopyFrom(node)
    copied.input[:2] = [data, weight]
    if quantized.bias is not None and layer.op != "MatMul":
        steps, scale = bias_steps(quantized.bias, quantized.grid, float(quantized.data.scale))
        grid = Grid(scale, np.zeros(scale.shape, np.int32), 0)
        wish = f"{layer.name}_bias" if layer.bias is None else layer.bias.tensor
        bias, dequantized = make.constant(wish, steps, grid)
        made.append(dequantized)
        copied.input[2:] = [bias]
    return [*made, copied]
