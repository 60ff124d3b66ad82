"""A mixture of experts of com.microsoft, as exporters write it with ONNX's operators: gate, TopK, Gather, MatMul.

Each token is multiplied by the weights of the experts chosen for it. That these are read where they are, and those of
other experts not at all, is for passes and kernels to see to.
"""

from __future__ import annotations

import numpy as np
import onnx

from dsc.exchange.upgrade.edit import Edit, Rule

_PLAIN = ("relu", "gelu", "silu", "identity")


def _mixture(edit: Edit) -> None:
    """sum over the k best experts e of p[e] * (fc2[e] act(fc1[e] x + b1[e]) + b2[e])"""
    names = [*edit.node.input, *[""] * 8][:8]
    data, gate, w1, b1, w2, b2, w3, b3 = names
    if edit.attribute("use_sparse_mixer", 0):
        raise edit.refuse("choosing experts by a sparse mixer is not supported")
    probability, chosen = _chosen(edit, gate)
    width = edit.emit("Shape", [data], start=-1)
    tokens = edit.emit("Reshape", [data, edit.emit("Concat", [edit.int64s([-1, 1, 1]), width], axis=0)])
    hidden = _activated(edit, _layer(edit, tokens, w1, b1, chosen), (tokens, w3, b3), chosen)
    made = _layer(edit, hidden, w2, b2, chosen)
    weighted = edit.emit("Mul", [made, edit.emit("Unsqueeze", [probability, edit.int64s([2, 3])])])
    total = edit.emit("ReduceSum", [weighted, edit.int64s([1, 2])], keepdims=0)
    edit.become("Reshape", total, edit.emit("Shape", [data]))


def _chosen(edit: Edit, gate: str) -> tuple[str, str]:
    """Of the experts of each token: how much they count, and their numbers; both ``[tokens, k]``."""
    k, normalized = edit.attribute("k", 1), edit.attribute("normalize_routing_weights", 0)
    best, chosen = edit.fresh("probability"), edit.fresh("expert")
    scores = gate if normalized else edit.emit("Softmax", [gate], axis=-1)
    edit.before.append(
        onnx.helper.make_node("TopK", [scores, edit.int64s([k])], [best, chosen], name=edit.node.name, axis=-1)
    )
    # the parts that the best have of their sum are the softmax of their scores alone
    return edit.emit("Softmax", [best], axis=-1) if normalized else best, chosen


def _layer(edit: Edit, data: str, weight: str, bias: str, chosen: str) -> str:
    """``[tokens, k, 1, outputs]``; weights have outputs first."""
    turned = edit.emit("Transpose", [weight], perm=[0, 2, 1])
    product = edit.emit("MatMul", [data, edit.emit("Gather", [turned, chosen], axis=0)])
    if not bias:
        return product
    taken = edit.emit("Gather", [bias, chosen], axis=0)
    return edit.emit("Add", [product, edit.emit("Unsqueeze", [taken, edit.int64s([2])])])


def _activated(edit: Edit, made: str, gated: tuple[str, str, str], chosen: str) -> str:
    """What the first layer `made`, through its activation, and times what a third one makes of the tokens, if there is
    one."""
    kind = str(edit.attribute("activation_type", "relu")).lower()
    tokens, weight, bias = gated
    if kind == "swiglu":
        fusion = edit.attribute("swiglu_fusion", 0)
        if fusion == 0 and not weight:
            raise edit.refuse("swiglu of two products needs fc3_experts_weights")
        both = (made, _layer(edit, tokens, weight, bias, chosen)) if fusion == 0 else _halves(edit, made, fusion)
        return _swiglu(edit, *both)
    if kind not in _PLAIN:
        raise edit.refuse(f"activation_type {kind!r} is not one of {', '.join(_PLAIN)} and swiglu")
    result = _plain(edit, kind, made)
    return edit.emit("Mul", [result, _layer(edit, tokens, weight, bias, chosen)]) if weight else result


def _plain(edit: Edit, kind: str, data: str) -> str:
    """ONNX Runtime's gelu is the approximation by tanh here."""
    if kind == "identity":
        return data
    if kind == "silu":
        return edit.emit("Mul", [data, edit.emit("Sigmoid", [data])])
    return edit.emit("Relu", [data]) if kind == "relu" else edit.emit("Gelu", [data], approximate="tanh")


def _halves(edit: Edit, data: str, fusion: int) -> tuple[str, str]:
    """Gate and factor, which one product made: in turns, or one after the other."""
    if fusion == 1:
        first, end, last, step = (edit.int64s([n]) for n in (0, np.iinfo(np.int64).max, -1, 2))
        second = edit.int64s([1])
        return edit.emit("Slice", [data, first, end, last, step]), edit.emit("Slice", [data, second, end, last, step])
    gate, factor = edit.fresh("gate"), edit.fresh("factor")
    edit.before.append(onnx.helper.make_node("Split", [data], [gate, factor], axis=-1, num_outputs=2))
    return gate, factor


def _swiglu(edit: Edit, gate: str, factor: str) -> str:
    """g sigmoid(alpha g) (l + beta), where g and l are limited first"""
    limit = edit.attribute("swiglu_limit")
    if limit is not None:
        most, least = edit.constant(np.float32(limit)), edit.constant(np.float32(-limit))
        gate, factor = edit.emit("Clip", [gate, "", most]), edit.emit("Clip", [factor, least, most])
    alpha = edit.constant(np.float32(edit.attribute("activation_alpha", 1.0)))
    beta = edit.constant(np.float32(edit.attribute("activation_beta", 0.0)))
    swish = edit.emit("Mul", [gate, edit.emit("Sigmoid", [edit.emit("Mul", [gate, alpha])])])
    return edit.emit("Mul", [swish, edit.emit("Add", [factor, beta])])


RULES: dict[str, Rule] = {"MoE": _mixture}
