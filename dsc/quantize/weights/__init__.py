"""Weights as small integers with scales for groups of them: round to nearest, half-quadratic, GPTQ."""

from __future__ import annotations

from dsc.quantize.weights.quantize import Form, LayerError, Method, QuantizedWeights, quantize_weights

__all__ = ["Form", "LayerError", "Method", "QuantizedWeights", "quantize_weights"]
