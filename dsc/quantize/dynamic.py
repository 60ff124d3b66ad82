"""Ranges that each run finds, by DynamicQuantizeLinear and MatMulInteger, as ONNX Runtime's quantize_dynamic has it."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.helper

from dsc.errors import UnsupportedModelError
from dsc.quantize.grid import weight_grid
from dsc.quantize.layers import Layer, find_layers
from dsc.quantize.network import Network
from dsc.quantize.nodes import QdqNodes
from dsc.quantize.policy import Policy
from dsc.quantize.prepare import drop_unused
from dsc.quantize.quantized import Accuracy, LayerReport, Quantized, Report
from dsc.quantize.weight_error import weight_decibels

_MIDDLE = 128
"""The zero point of unsigned weights."""


class DynamicWork:
    """A model on the way to dynamic ranges: its products of matrices by weights.

    Raises UsageError for names in the policy that are none, UnsupportedModelError where there is nothing to quantize.
    """

    def __init__(self, model: onnx.ModelProto, policy: Policy) -> None:
        self.float_model, self._network = model, Network(model)
        self._layers = find_layers(self._network)
        self._rules = policy.decisions(self._network, self._layers)
        self._candidates = [layer for layer in self._layers if self._refusal(layer) is None]
        self._decibels = {layer.name: self._snr(layer) for layer in self._layers if _form(layer) is None}
        if not self._candidates:
            raise UnsupportedModelError("there is no product of matrices by constant weights in the model to quantize")

    @property
    def open_layers(self) -> int:
        return len(self._open)

    @property
    def required(self) -> str:
        return ", ".join(layer.name for layer in self._candidates if layer.name in self._rules)

    def model(self, count: int) -> onnx.ModelProto:
        kept = set(self._open[:count])
        return dynamic_model(self._network, [layer for layer in self._candidates if layer.name not in kept])

    def result(self, count: int, accuracy: Accuracy | None) -> Quantized:
        kept = set(self._open[:count])
        layers = tuple(self._report(layer, layer.name in kept) for layer in self._layers)
        return Quantized(self.model(count), Report(layers, None, accuracy, "weights"))

    @property
    def _open(self) -> list[str]:
        """The layers for which accuracy decides, those whose weights lose most first."""
        free = [layer.name for layer in self._candidates if layer.name not in self._rules]
        return sorted(free, key=lambda name: self._decibels[name])

    def _refusal(self, layer: Layer) -> str | None:
        rule = self._rules.get(layer.name)
        is_kept = rule is not None and rule.keep != "int8"
        return _form(layer) or (f"the policy keeps {rule} in {rule.keep}" if rule and is_kept else None)

    def _snr(self, layer: Layer) -> float:
        weight = self._network.constant(layer.weight)
        assert weight is not None  # else it has no form
        grid = weight_grid(weight, layer.channels)
        return weight_decibels(weight, grid.dequantized(grid.quantized(weight)))

    def _report(self, layer: Layer, is_kept: bool) -> LayerReport:
        refusal, rule = self._refusal(layer), self._rules.get(layer.name)
        reason = refusal or ("too sensitive for the accuracy asked for" if is_kept else "")
        if rule is not None and refusal is None:
            reason = f"the policy keeps {rule} in bytes"
        weight = self._network.constant(layer.weight)
        size, snr = 0 if weight is None else weight.size, self._decibels.get(layer.name)
        return LayerReport(layer.name, layer.op, size, snr, not is_kept and refusal is None, reason)


def _form(layer: Layer) -> str | None:
    """Why a layer has no dynamic form."""
    return layer.refusal or (None if layer.op in ("MatMul", "Gemm") else "a convolution: static scales are faster")


def dynamic_model(network: Network, layers: list[Layer]) -> onnx.ModelProto:
    """The model with these products as MatMulInteger of what a run quantizes by its own least and greatest number."""
    model, make = onnx.ModelProto(), QdqNodes(network.model)
    model.CopyFrom(network.model)
    by_name = {layer.name: layer for layer in layers}
    quantized: dict[str, tuple[str, str, str]] = {}
    nodes: list[onnx.NodeProto] = []
    for node in network.nodes:
        layer = by_name.get(node.name)
        if layer is None:
            nodes.append(node)
            continue
        if layer.data not in quantized:
            names = [make.fresh(f"{layer.data}_{part}") for part in ("quantized", "scale", "zero_point")]
            name = make.fresh(f"{layer.data}_DynamicQuantizeLinear")
            nodes.append(onnx.helper.make_node("DynamicQuantizeLinear", [layer.data], names, name=name))
            quantized[layer.data] = (names[0], names[1], names[2])
        nodes += _product(network, layer, node, quantized[layer.data], make)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    model.graph.initializer.extend(make.initializers)
    drop_unused(model.graph)
    return model


def _product(
    network: Network, layer: Layer, node: onnx.NodeProto, data: tuple[str, str, str], make: QdqNodes
) -> list[onnx.NodeProto]:
    """``float(x @ w) * (sx * sw) + b``, the integer product under the layer's name.

    Weights are unsigned, their zero point 128: by signed ones, ONNX Runtime's sums saturate on x86 without VNNI.
    """
    weight = network.constant(layer.weight)
    assert weight is not None  # else it has no form
    grid = weight_grid(weight, layer.channels)
    array = (grid.quantized(weight).astype(np.int16) + _MIDDLE).astype(np.uint8)
    bytes_ = make.initializer(f"{layer.weight}_quantized", array if layer.channels else array.T)
    middle = make.initializer(f"{layer.weight}_zero_point", np.array(_MIDDLE, np.uint8))
    scales = make.initializer(f"{layer.weight}_scale", grid.scale)
    has_bias = layer.op == "Gemm" and len(node.input) > 2 and node.input[2]
    sums, floats, factor = (make.fresh(f"{layer.output}_{part}") for part in ("sums", "floats", "factor"))
    product = make.fresh(f"{layer.output}_scaled") if has_bias else layer.output
    steps: list[tuple[str, list[str], str, dict[str, int]]] = [
        ("MatMulInteger", [data[0], bytes_, data[2], middle], sums, {}),
        ("Cast", [sums], floats, {"to": onnx.TensorProto.FLOAT}),
        ("Mul", [data[1], scales], factor, {}),
        ("Mul", [floats, factor], product, {}),
    ]
    if has_bias:
        steps.append(("Add", [product, node.input[2]], layer.output, {}))
    names = [layer.name, *(make.fresh(f"{layer.name}_{op}") for op, *_ in steps[1:])]
    return [
        onnx.helper.make_node(op, inputs, [output], name=name, **attributes)
        for name, (op, inputs, output, attributes) in zip(names, steps, strict=True)
    ]
