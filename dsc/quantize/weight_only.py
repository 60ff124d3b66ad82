"""Weights alone as small integers, products in float: `dsc.quantize.weights` under the search for an accuracy."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import onnx

from dsc.check.deviation import decibels
from dsc.errors import UnsupportedModelError
from dsc.quantize.calibration import Feed
from dsc.quantize.layers import Layer
from dsc.quantize.network import Network
from dsc.quantize.policy import Policy
from dsc.quantize.quantized import Accuracy, LayerReport, Quantized, Report
from dsc.quantize.weights import LayerError, Method, QuantizedWeights, quantize_weights

_SAMPLES = 128
"""At most, which are kept: GPTQ reads them for each number of layers that is tried."""


class WeightOnlyWork:
    """A model on the way to weights of `bits` bits: by GPTQ where there are samples, half-quadratically where not.

    Raises UsageError for names in the policy that are none and samples that the model does not take,
    UnsupportedModelError where the policy leaves nothing to quantize.
    """

    def __init__(self, model: onnx.ModelProto, policy: Policy, bits: int, calibration: Iterable[Feed] | None) -> None:
        self.float_model, self._bits = model, bits
        self._samples = None if calibration is None else _first(calibration)
        whole = self._quantized([])
        self._errors = whole.layers
        network = Network(model)
        nodes = {node.name: node for node in network.nodes}
        self._layers = [_layer(nodes[error.name]) for error in self._errors]
        self._rules = policy.decisions(network, self._layers)
        self._float = [name for name, rule in self._rules.items() if rule.keep != "int8"]
        if len(self._float) == len(self._errors):
            raise UnsupportedModelError("the policy keeps all layers in float: there is nothing to quantize")
        self._made = {0: whole} if not self._float else {}

    @property
    def open_layers(self) -> int:
        return len(self._open)

    @property
    def required(self) -> str:
        return ", ".join(name for name, rule in self._rules.items() if rule.keep == "int8")

    def model(self, count: int) -> onnx.ModelProto:
        if count not in self._made:
            self._made = {count: self._quantized([*self._float, *self._open[:count]])}  # the last one, not all
        return self._made[count].model

    def result(self, count: int, accuracy: Accuracy | None) -> Quantized:
        kept = set(self._open[:count])
        layers = tuple(
            self._report(error, layer.op, error.name in kept)
            for error, layer in zip(self._errors, self._layers, strict=True)
        )
        return Quantized(self.model(count), Report(layers, None, accuracy, "weights"))

    @property
    def _open(self) -> list[str]:
        """The layers for which accuracy decides, the worst first."""
        return [error.name for error in self._errors if error.name not in self._rules]

    def _quantized(self, keep: list[str]) -> QuantizedWeights:
        method: Method = "hqq" if self._samples is None else "gptq"
        return quantize_weights(self.float_model, bits=self._bits, method=method, data=self._samples, keep=keep)

    def _report(self, error: LayerError, op: str, is_kept: bool) -> LayerReport:
        rule = self._rules.get(error.name)
        reason = "too sensitive for the accuracy asked for" if is_kept else ""
        if rule is not None:
            reason = f"the policy keeps {rule} in {'integers' if rule.keep == 'int8' else rule.keep}"
        quantized = not is_kept and error.name not in self._float
        return LayerReport(error.name, op, math.prod(error.shape), _decibels(error.error), quantized, reason)


def _first(calibration: Iterable[Feed]) -> list[dict[str, np.ndarray]]:
    kept = []
    for feed in calibration:
        kept.append({name: np.array(array) for name, array in feed.items()})
        if len(kept) == _SAMPLES:
            break
    return kept


def _layer(node: onnx.NodeProto) -> Layer:
    """As policies look at it."""
    return Layer(node.name, node.op_type, node.input[0], node.input[1], node.output[0], None, 0, False, None)


def _decibels(error: float) -> float:
    return decibels(1.0, error**2)
