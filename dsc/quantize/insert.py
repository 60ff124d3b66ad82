"""The quantized model: plain QDQ ONNX, every node of the float model in it, under its name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx

from dsc.quantize.calibration.ranges import Range
from dsc.quantize.grid import Grid, activation_grid
from dsc.quantize.layers import Layer
from dsc.quantize.network import Network
from dsc.quantize.nodes import QdqNodes
from dsc.quantize.placement import moved_from, moves, place
from dsc.quantize.prepare import drop_unused
from dsc.quantize.quantized_layer import QuantizedLayer, quantize_layer, rewired
from dsc.quantize.scheme import StaticScheme


def quantized_model(
    network: Network,
    layers: Sequence[Layer],
    ranges: Mapping[str, Range],
    scheme: StaticScheme,
    shifts: Mapping[str, np.ndarray] | None = None,
    rounded: Mapping[str, np.ndarray] | None = None,
) -> onnx.ModelProto:
    """The model with these layers in bytes.

    ranges: of all tensors that `needed_ranges` names. shifts: what is added to biases, by layer and for each output
    channel. rounded: bytes of weights that are not the nearest, by layer. The operators are those of the float model
    between QuantizeLinear and DequantizeLinear, which runtimes that have integer kernels take together.
    """
    grids = grids_of(network, layers, ranges, scheme)
    quantized = [
        quantize_layer(
            network, layer, grids[layer.data], scheme, (shifts or {}).get(layer.name), (rounded or {}).get(layer.name)
        )
        for layer in layers
    ]
    return _Inserter(network, grids, quantized, scheme.keeps_residuals).model()


def grids_of(
    network: Network, layers: Sequence[Layer], ranges: Mapping[str, Range], scheme: StaticScheme
) -> dict[str, Grid]:
    """The grids of all tensors that become bytes where these layers do."""
    placement = place(network, [layer.data for layer in layers])
    return {
        tensor: activation_grid(found, scheme.activations, scheme.symmetric)
        for tensor, found in placement.ranges(network, ranges).items()
    }


def needed_ranges(network: Network, layers: Sequence[Layer]) -> list[str]:
    """The tensors whose ranges quantizing these layers asks for."""
    placement = place(network, [layer.data for layer in layers])
    return [tensor for tensor in placement.tensors if not moved_from(network, tensor)]


class _Inserter:
    def __init__(
        self,
        network: Network,
        grids: Mapping[str, Grid],
        quantized: Sequence[QuantizedLayer],
        keeps_residuals: bool,
    ) -> None:
        self._network = network
        self._grids = grids
        self._quantized = {found.layer.name: found for found in quantized}
        self._keeps_residuals = keeps_residuals
        self._make = QdqNodes(network.model)
        self._names: dict[str, str] = {}
        """Of tensors that are read as dequantized bytes."""
        self._biases = {
            found.layer.bias.node: found
            for found in quantized
            if found.layer.op == "MatMul" and found.layer.bias is not None
        }
        """Of products, by the node of the Add behind them."""

    def model(self) -> onnx.ModelProto:
        model = onnx.ModelProto()
        model.CopyFrom(self._network.model)
        nodes = [made for name in self._network.inputs for made in self._through_bytes(name)]
        for node in self._network.nodes:
            nodes += self._rewired(node)
            nodes += [made for name in node.output for made in self._through_bytes(name)]
        del model.graph.node[:]
        model.graph.node.extend(nodes)
        model.graph.initializer.extend(self._make.initializers)
        drop_unused(model.graph)
        return model

    def _through_bytes(self, tensor: str) -> list[onnx.NodeProto]:
        if tensor not in self._grids:
            return []
        self._names[tensor], made = self._make.through_bytes(tensor, self._grids[tensor])
        return made

    def _rewired(self, node: onnx.NodeProto) -> list[onnx.NodeProto]:
        if node.name in self._quantized:
            return rewired(self._quantized[node.name], node, self._names[node.input[0]], self._make)
        copied = onnx.NodeProto()
        copied.CopyFrom(node)
        copied.input[:] = [self._read(name, node) for name in node.input]
        if node.name in self._biases:
            self._correct(copied, self._biases[node.name])
        return [copied]

    def _read(self, tensor: str, node: onnx.NodeProto) -> str:
        """What a node that is not quantized reads in place of a tensor."""
        passes_on = moves(node) and node.output[0] in self._grids
        if self._keeps_residuals and not passes_on:
            return tensor
        return self._names.get(tensor, tensor)

    def _correct(self, add: onnx.NodeProto, quantized: QuantizedLayer) -> None:
        bias = quantized.layer.bias
        assert bias is not None
        given = self._network.constant(bias.tensor)
        assert given is not None
        assert quantized.bias is not None
        if not np.array_equal(quantized.bias, given):
            corrected = self._make.initializer(f"{bias.tensor}_corrected", quantized.bias)
            add.input[:] = [corrected if name == bias.tensor else name for name in add.input]
