"""Mixtures of experts of com.microsoft, against ONNX Runtime's own kernel, or numpy where that has none."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

from dsc.errors import UnsupportedModelError
from dsc.exchange import export_model, import_model
from dsc.pipeline import compile_model
from tests.exchange.models import assert_close, model, node, run, value

EXPERTS, WIDTH, HIDDEN = 5, 8, 12
SHAPES = {
    "w1": (EXPERTS, HIDDEN, WIDTH), "b1": (EXPERTS, HIDDEN), "w2": (EXPERTS, WIDTH, HIDDEN), "b2": (EXPERTS, WIDTH),
    "w3": (EXPERTS, HIDDEN, WIDTH), "b3": (EXPERTS, HIDDEN), "fused": (EXPERTS, 2 * HIDDEN, WIDTH),
    "fused_bias": (EXPERTS, 2 * HIDDEN),
}  # fmt: skip
PLAIN, FUSED, GATED = ("w1", "b1", "w2", "b2"), ("fused", "fused_bias", "w2", "b2"), ("w1", "", "w2", "", "w3")
Arrays = dict[str, np.ndarray]


def mixture(
    weights: tuple[str, ...], leading: tuple[int, ...] = (6,), **attributes: Any
) -> tuple[onnx.ModelProto, Arrays]:
    """A model of one, and inputs for it."""
    draw = np.random.default_rng(3)
    held = {name: draw.standard_normal(SHAPES[name], np.float32) for name in weights if name}
    shape, scores = (*leading, WIDTH), (int(np.prod(leading)), EXPERTS)
    op = node("MoE", ["x", "gate", *weights], ["y"], domain="com.microsoft", **attributes)
    inputs = [value("x", shape), value("gate", scores)]
    proto = model([op], inputs, [value("y", shape)], held, domains=["com.microsoft"])
    return proto, {"x": draw.standard_normal(shape, np.float32), "gate": draw.standard_normal(scores, np.float32)}


KINDS: list[tuple[tuple[str, ...], dict[str, Any]]] = [
    *((PLAIN, {"activation_type": kind, "k": 2}) for kind in ("relu", "gelu", "silu", "identity")),
    (PLAIN, {"activation_type": "relu", "k": 1}),
    (PLAIN, {"activation_type": "silu", "k": 3, "normalize_routing_weights": 1}),
    (("w1", "", "w2"), {"activation_type": "relu", "k": EXPERTS, "normalize_routing_weights": 1}),
    (FUSED, {"activation_type": "swiglu", "swiglu_fusion": 1, "k": 2}),
    (
        FUSED,
        {
            "activation_type": "swiglu", "swiglu_fusion": 1, "k": 2, "activation_alpha": 1.702,
            "activation_beta": 1.0, "swiglu_limit": 0.5,
        },
    ),
]  # fmt: skip


@pytest.mark.parametrize("leading", [(6,), (2, 3)])
@pytest.mark.parametrize(("weights", "attributes"), KINDS)
def test_what_is_imported_is_what_onnx_runtime_computes(
    weights: tuple[str, ...], attributes: dict[str, Any], leading: tuple[int, ...]
) -> None:
    proto, arrays = mixture(weights, leading, **attributes)
    assert_close(run(export_model(import_model(proto)), arrays), run(proto, arrays), 1e-4)  # its tanh is approximate


def test_a_compiled_mixture_reads_chosen_experts_where_they_are() -> None:
    proto, arrays = mixture(PLAIN, activation_type="silu", k=2)
    compiled = compile_model(proto, target="native").model
    used = [kernel["kernel"] for kernel in compiled.manifest.kernels]
    assert used.count("cpu.chosen_weights") == 2
    assert_close([compiled.load(1).run(arrays)["y"]], run(proto, arrays), 1e-5)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


@pytest.mark.parametrize(
    ("attributes", "act"),
    [
        ({"activation_type": "silu"}, lambda g, other: g * sigmoid(g) * other),
        ({"activation_type": "relu"}, lambda g, other: np.maximum(g, 0) * other),
        (
            {"activation_type": "swiglu", "activation_alpha": 1.5, "activation_beta": 0.5},
            lambda g, other: g * sigmoid(1.5 * g) * (other + 0.5),
        ),
    ],
)
def test_a_third_product_is_a_factor(attributes: dict[str, Any], act: Any) -> None:
    """ONNX Runtime has it for GPUs only."""
    proto, arrays = mixture(GATED, k=2, normalize_routing_weights=1, **attributes)
    held = {each.name: onnx.numpy_helper.to_array(each).astype(np.float64) for each in proto.graph.initializer}
    expected = np.zeros((6, WIDTH))
    for token, (x, gate) in enumerate(zip(arrays["x"].astype(np.float64), arrays["gate"], strict=True)):
        best = np.argsort(-gate)[:2]
        parts = np.exp(gate[best]) / np.exp(gate[best]).sum()
        for expert, part in zip(best, parts, strict=True):
            hidden = act(held["w1"][expert] @ x, held["w3"][expert] @ x)
            expected[token] += part * (held["w2"][expert] @ hidden)
    assert_close([compile_model(proto, target="native").model.load(1).run(arrays)["y"]], [expected], 1e-5)


def test_halves_one_after_the_other_are_those_in_turns() -> None:
    """ONNX Runtime has swiglu_fusion 2 for GPUs only."""
    turns, arrays = mixture(FUSED, activation_type="swiglu", swiglu_fusion=1, k=2)
    halves, _ = mixture(FUSED, activation_type="swiglu", swiglu_fusion=2, k=2)
    for tensor in halves.graph.initializer:
        if tensor.name.startswith("fused"):
            array = onnx.numpy_helper.to_array(tensor)
            array = np.concatenate([array[:, ::2], array[:, 1::2]], axis=1)
            tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))
    assert_close(run(export_model(import_model(halves)), arrays), run(turns, arrays), 1e-5)


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"use_sparse_mixer": 1, "k": 2}, "sparse mixer is not supported"),
        ({"activation_type": "tanh"}, "'tanh' is not one of relu, gelu, silu, identity and swiglu"),
        ({"activation_type": "swiglu"}, "swiglu of two products needs fc3_experts_weights"),
    ],
)
def test_what_is_refused(attributes: dict[str, Any], message: str) -> None:
    with pytest.raises(UnsupportedModelError, match=message):
        import_model(mixture(PLAIN, **attributes)[0])
