"""Schemes without static scales: what is written, what it computes, what of it stays in float."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

import dsc
from dsc.check import Reference
from dsc.errors import UnsupportedModelError, UsageError
from dsc.exchange import import_model
from dsc.ir import onnx as onnx_ops
from dsc.passes import Pipeline
from dsc.quantize.policy import Policy, PolicyRule
from dsc.quantize.quantized import Quantized
from dsc.quantize.scheme import StaticScheme
from tests.compiled import TextModel
from tests.quantize.nets import CONVS, DENSE, PRODUCTS, names, samples
from tests.quantize.test_quantize import agreement


def quantized(model: TextModel, scheme: str, **keywords: object) -> Quantized:
    return dsc.quantize(model.proto(), scheme=scheme, **keywords)  # type: ignore[operator, no-any-return]


@pytest.mark.parametrize("text", [DENSE, PRODUCTS], ids=["dense", "attention"])
def test_dynamic_products_are_those_of_bytes(text: TextModel) -> None:
    """Every range is that of the run: the same bytes, by NumPy, give the same numbers."""
    found = quantized(text, "dynamic")
    onnx.checker.check_model(found.model, full_check=True)
    assert names(found.model, "MatMulInteger") == [layer.name for layer in found.report.layers if layer.quantized]
    for scale in (1e-3, 1.0, 1e4):  # ranges follow
        feed = {name: array * np.float32(scale) for name, array in samples(text, 1, seed=3)[0].items()}
        expected, got = (Reference(model, 1).run(feed)["y"] for model in (text.proto(), found.model))
        error = np.sqrt(((got - expected) ** 2).mean() / (expected**2).mean())
        assert 1e-6 < error < 0.03  # two layers of 40 dB each, and a softmax


def test_dynamic_by_hand() -> None:
    """y = sx sw sum((x - zx) w) + b, with the least and the greatest number of the run."""
    w, b = DENSE.weights["w0"].astype(np.float64), DENSE.weights["b0"].astype(np.float64)
    model = TextModel("(float[n,19] x) => (float[n,23] y) { [first] y = Gemm<transB=1>(x, w0, b0) }", DENSE.weights)
    (feed,) = samples(DENSE, 1, seed=8)
    x = feed["x"].astype(np.float64)
    low, high = min(x.min(), 0), max(x.max(), 0)
    sx, sw = (high - low) / 255, np.abs(w).max(1) / 127
    zero = np.rint(-low / sx)
    products = (np.rint(x / sx) + zero - zero) @ np.rint(w / sw[:, None]).T
    found = Reference(quantized(model, "dynamic").model, 1).run(feed)["y"]
    np.testing.assert_allclose(found, products * sx * sw + b, atol=2.1 * sx * np.abs(w).max())  # two ties, at most


def test_dsc_multiplies_what_is_dynamic_in_bytes() -> None:
    graph = import_model(quantized(DENSE, "dynamic").model)
    Pipeline.parse("integers,canonicalize").run(graph)
    products = [op for op in graph.module.walk() if isinstance(op, onnx_ops.MatMulInteger)]
    assert [graph.constant(op.B).dtype for op in products] == [np.int8, np.int8]  # type: ignore[union-attr]


def test_one_range_serves_all_readers_of_a_tensor() -> None:
    model = TextModel(
        "(float[n,19] x) => (float[n,23] y, float[n,23] z)"
        " { t = Transpose<perm=[1,0]>(w0) y = MatMul(x, t) u = Transpose<perm=[1,0]>(w0) z = MatMul(x, u) }",
        {"w0": DENSE.weights["w0"]},
    )
    assert len(names(quantized(model, "dynamic").model, "DynamicQuantizeLinear")) == 1


@pytest.mark.parametrize(("scheme", "error"), [("int8-weights", 0.02), ("int4-weights", 0.2)])
@pytest.mark.parametrize("calibrated", [False, True])
def test_weights_alone(scheme: str, error: float, calibrated: bool) -> None:
    found = quantized(DENSE, scheme, calibration=samples(DENSE, 8) if calibrated else None)
    assert {layer.name for layer in found.report.layers} == {"first", "second"}
    assert found.report.share == 1
    assert found.report.unit == "weights"
    (feed,) = samples(DENSE, 1, seed=3)
    expected, got = (Reference(model, 1).run(feed)["y"] for model in (DENSE.proto(), found.model))
    assert 0 < np.sqrt(((got - expected) ** 2).mean() / (expected**2).mean()) < error


@pytest.mark.parametrize(("scheme", "drop"), [("dynamic", 0.01), ("int4-weights", 0.15)])
def test_policies_and_accuracy_hold_for_them(scheme: str, drop: float) -> None:
    kept = quantized(DENSE, scheme, policy=Policy((PolicyRule("float", names=("fir*",)),)))
    assert kept.report.excluded == ["first"]
    assert "w0" in {tensor.name for tensor in kept.model.graph.initializer}
    near = quantized(DENSE, scheme, evaluate=agreement(DENSE), max_accuracy_drop=drop)
    assert near.report.accuracy is not None
    assert near.report.accuracy.drop <= drop


@pytest.mark.parametrize(
    ("scheme", "given", "said"),
    [
        ("int8", {}, "calibration data gives"),
        ("int3", {}, "no scheme 'int3'"),
        ("dynamic", {"calibration": []}, "takes no calibration data"),
        ("dynamic", {"calibrator": "mse"}, "a calibrator is for scheme int8"),
        ("int4-weights", {"target": "x86:avx2"}, "a target is for scheme int8"),
        ("dynamic", {"policy": Policy(scheme=StaticScheme(weight_bits=7))}, r"\[scheme\] of the policy is for"),
    ],
)
def test_what_would_be_ignored_is_refused(scheme: str, given: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        quantized(DENSE, scheme, **given)


def test_nothing_for_dynamic_ranges() -> None:
    with pytest.raises(UnsupportedModelError, match="no product of matrices"):
        quantized(CONVS, "dynamic")
    everything = Policy((PolicyRule("float", ops=("Gemm",)),))
    with pytest.raises(UnsupportedModelError, match="policy keeps all layers in float"):
        quantized(DENSE, "int4-weights", policy=everything)
