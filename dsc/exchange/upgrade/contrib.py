"""Operators of domain com.microsoft, which ONNX Runtime's optimizer leaves in models, by ONNX's own."""

from __future__ import annotations

import numpy as np
import onnx.helper

from dsc.exchange.upgrade import linear, mixture, packed_weights
from dsc.exchange.upgrade.edit import Edit, Rule

DOMAIN = "com.microsoft"


def _gelu(edit: Edit) -> None:
    edit.become("Gelu", _sum(edit, edit.node.input))


def _fast_gelu(edit: Edit) -> None:
    edit.become("Gelu", _sum(edit, edit.node.input))
    edit.put("approximate", "tanh")


def _quick_gelu(edit: Edit) -> None:
    """x * sigmoid(alpha * x)"""
    data = edit.node.input[0]
    alpha = edit.emit("CastLike", [edit.constant(np.float32(edit.pop("alpha", 1.702))), data])
    gate = edit.emit("Sigmoid", [edit.emit("Mul", [data, alpha])])
    edit.become("Mul", data, gate)


def _skip_layer_norm(edit: Edit) -> None:
    """layer_norm(x + skip + bias, gamma, beta), and the sum itself as fourth output."""
    _skip_norm(edit, "LayerNormalization", edit.node.input[2:4], edit.node.input[4:5])


def _skip_rms_norm(edit: Edit) -> None:
    _skip_norm(edit, "RMSNormalization", edit.node.input[2:3], edit.node.input[3:4])


def _skip_norm(edit: Edit, op_type: str, parameters: list[str], bias: list[str]) -> None:
    outputs = [*edit.node.output, "", "", ""]
    if outputs[1] or outputs[2]:
        raise edit.refuse("its outputs for mean and variance are not supported")
    total = _sum(edit, [*edit.node.input[:2], *bias])
    if outputs[3]:
        edit.before.append(onnx.helper.make_node("Identity", [total], [outputs[3]]))
    epsilon = edit.pop("epsilon", 1e-12)
    edit.become(op_type, total, *(p for p in parameters if p))
    edit.put("epsilon", epsilon)


def _sum(edit: Edit, names: list[str]) -> str:
    total, *rest = (name for name in names if name)
    for name in rest:
        total = edit.emit("Add", [total, name])
    return total


RULES: dict[str, Rule] = {
    "BiasGelu": _gelu,
    "FastGelu": _fast_gelu,
    "Gelu": _gelu,
    "QuickGelu": _quick_gelu,
    "SkipLayerNormalization": _skip_layer_norm,
    "SkipSimplifiedLayerNormalization": _skip_rms_norm,
    **linear.RULES,
    **mixture.RULES,
    **packed_weights.RULES,
}
"""The rule of each operator that has an equal."""
