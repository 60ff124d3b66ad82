"""From a float model and samples to one of bytes: what is decided, and what is said of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

import dsc
import dsc.models
from dsc.check import Reference
from dsc.errors import BudgetError, UnsupportedModelError, UsageError
from dsc.models.evaluation import evaluation
from dsc.quantize.policy import Policy, PolicyRule
from dsc.quantize.quantized import Quantized
from dsc.quantize.scheme import StaticScheme
from dsc.quantize.session import Run
from tests.compiled import TextModel
from tests.quantize.nets import CONVS, DENSE, PRODUCTS, Feed, names, samples, weight

SENSITIVE = TextModel(
    """(float[n,16] x) => (float[n,16] y) {
        [easy] a = MatMul(x, w)
        [spread] b = Mul(a, spread)
        [hard] c = MatMul(b, rare)
        [calm] d = Tanh(c)
        [mild] y = MatMul(d, w)
    }""",
    {
        "w": weight(16, 16),
        "spread": np.float32([1000, *[1] * 15]),
        "rare": weight(16, 16, seed=1) * np.float32([1e-5, *[1] * 15])[:, None],
    },
)
"""One channel of what `hard` reads is so large that the others, which count, are lost in bytes."""


AS_IT_IS = Policy(scheme=StaticScheme(smoothing="none"))


def agreement(model: TextModel, seed: int = 5) -> object:
    """How far outputs are those of the float model: minus the mean relative error."""
    feeds = samples(model, 4, seed)
    expected = [Reference(model.proto(), 1).run(feed)["y"] for feed in feeds]

    def evaluate(run: Run) -> float:
        found = [run(feed)["y"] for feed in feeds]
        return -float(np.mean([np.abs(f - e).mean() / np.abs(e).mean() for f, e in zip(found, expected, strict=True)]))

    return evaluate


def quantized(model: TextModel, **keywords: object) -> Quantized:
    return dsc.quantize(model.proto(), samples(model), **keywords)  # type: ignore[operator, no-any-return]


def test_all_layers_and_what_is_said_of_them() -> None:
    report = quantized(PRODUCTS).report
    reasons = {layer.name: (layer.quantized, layer.reason) for layer in report.layers}
    computed = (False, "both factors are computed")
    assert reasons == {"key": (True, ""), "scores": computed, "mix": computed, "out": (True, "")}
    macs = {layer.name: layer.size for layer in report.layers}
    assert report.share == pytest.approx((macs["key"] + macs["out"]) / sum(macs.values()))
    assert report.snr > 30
    assert report.excluded == []
    assert report.worst_first()[-1].snr is None


def test_the_sensitive_layer_stays_in_float() -> None:
    found = quantized(SENSITIVE, policy=AS_IT_IS, evaluate=agreement(SENSITIVE), max_accuracy_drop=0.05)
    assert found.report.excluded == ["hard"]
    assert found.report.worst_first()[0].name == "hard"
    assert next(layer for layer in found.report.layers if layer.name == "hard").reason.startswith("too sensitive")
    assert found.report.accuracy is not None
    assert found.report.accuracy.drop <= 0.05
    assert found.report.accuracy.evaluations == 2
    everything = quantized(SENSITIVE, policy=AS_IT_IS)
    assert found.report.snr > everything.report.snr + 10
    assert names(found.model, "QuantizeLinear") != names(everything.model, "QuantizeLinear")


def test_smoothing_makes_it_no_more_sensitive_than_others() -> None:
    """By default: the factors go into the constant that made the channel so large."""
    report = quantized(SENSITIVE).report
    hard = next(layer for layer in report.layers if layer.name == "hard")
    assert report.snr > quantized(SENSITIVE, policy=AS_IT_IS).report.snr + 10  # type: ignore[operator]
    assert hard.methods[0].startswith("smoothed by ")
    assert hard.snr > 35  # type: ignore[operator]


def test_a_budget_that_cannot_be_met() -> None:
    policy = replace(AS_IT_IS, rules=(PolicyRule("int8", names=("hard",)),))
    with pytest.raises(BudgetError, match=r"no more than 0\.05 may be lost.*best of \d evaluations.*float for hard"):
        quantized(SENSITIVE, policy=policy, evaluate=agreement(SENSITIVE), max_accuracy_drop=0.05)


def test_policies_are_kept_to() -> None:
    policy = Policy((PolicyRule("float", names=("s*",)),))
    report = quantized(CONVS, policy=policy).report
    assert report.excluded == ["stem", "side"]
    reasons = {layer.name: layer.reason for layer in report.layers}
    assert reasons["side"] == "the policy keeps s* in float"
    assert reasons["last"] == ""


def test_correcting_biases_helps() -> None:
    """Seven bits, so that there is something to correct."""
    plain = Policy()
    coarse = replace(plain.scheme, weight_bits=7)
    with_, without = (
        quantized(CONVS, policy=Policy(scheme=replace(coarse, corrects_bias=corrects))).report
        for corrects in (True, False)
    )
    assert with_.snr > without.snr
    assert all(a.snr >= b.snr for a, b in zip(with_.layers, without.layers, strict=True))  # type: ignore[operator]


def test_a_layer_that_is_slower_in_bytes_stays_in_float() -> None:
    """Floats have Winograd's transforms for 3x3, which bytes do not; the policy's word counts all the same."""
    model = TextModel(
        "(float[1,64,28,28] x) => (float[1,64,28,28] y)"
        " { [square] a = Conv<pads=[1,1,1,1]>(x, w) [kept] b = Conv<pads=[1,1,1,1]>(a, w) [point] y = Conv(b, p) }",
        {"w": weight(64, 64, 3, 3), "p": weight(64, 64, 1, 1)},
    )
    policy = Policy((PolicyRule("int8", names=("kept",)),))
    found = dsc.quantize(model.proto(), samples(model, 1), policy=policy, target="x86:znver3")  # type: ignore[operator]
    reasons = {layer.name: (layer.quantized, layer.reason) for layer in found.report.layers}
    assert reasons["square"][0] is False
    assert reasons["square"][1].startswith("slower in bytes on x86:znver3: ")
    assert reasons["kept"] == (True, "the policy keeps kept in bytes")
    assert reasons["point"] == (True, "")


def test_data_is_read_once_and_may_be_an_iterator() -> None:
    read: list[int] = []

    def data() -> Iterator[Mapping[str, np.ndarray]]:
        for index, feed in enumerate(samples(DENSE, 40)):
            read.append(index)
            yield feed

    found = dsc.quantize(DENSE.proto(), data())  # type: ignore[operator]
    assert read == list(range(40))
    assert found.report.share == 1


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ([], "there are no samples"),
        ([{"x": np.full((2, 19), np.nan, np.float32)}], "calibration sample 1.*must be finite"),
        ([{"x": np.zeros((2, 18), np.float32)}], "calibration sample 1"),
        ([{"z": np.zeros((2, 19), np.float32)}], "calibration sample 1"),
    ],
)
def test_bad_data(data: list[Feed], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        dsc.quantize(DENSE.proto(), data)  # type: ignore[operator]


def test_errors_count_samples_as_they_came() -> None:
    """Though what is measured runs the largest first."""
    data = [{"x": np.ones((rows, 19), np.float32) * (np.nan if rows == 5 else 1)} for rows in (2, 3, 5)]
    for scheme in (StaticScheme(), StaticScheme(smoothing="none"), StaticScheme(rounding="adaptive")):
        with pytest.raises(UsageError, match="calibration sample 3: "):
            dsc.quantize(DENSE.proto(), data, policy=Policy(scheme=scheme))  # type: ignore[operator]


def test_constant_data_has_a_scale_all_the_same() -> None:
    """Zeros throughout, then a constant: the biases alone, and then a single point."""
    for value in (0.0, 3.0):
        feed = {"x": np.full((2, 19), value, np.float32)}
        found = dsc.quantize(DENSE.proto(), [feed])  # type: ignore[operator]
        expected, got = (Reference(model, 1).run(feed)["y"] for model in (DENSE.proto(), found.model))
        np.testing.assert_allclose(got, expected, atol=0.02 * np.abs(expected).max())


def test_bad_requests() -> None:
    with pytest.raises(UsageError, match="nothing says what the accuracy is"):
        quantized(DENSE, max_accuracy_drop=0.1)
    with pytest.raises(UsageError, match="expected 0 or more"):
        quantized(DENSE, evaluate=agreement(DENSE), max_accuracy_drop=-0.1)
    with pytest.raises(UsageError, match="no calibrator 'minmix'; is it minmax"):
        quantized(DENSE, calibrator="minmix")
    with pytest.raises(UsageError, match="the evaluation gives nan"):
        quantized(DENSE, evaluate=lambda run: float("nan"))
    with pytest.raises(UsageError, match="the evaluation failed: ZeroDivisionError"):
        quantized(DENSE, evaluate=lambda run: 1 / 0)


def test_nothing_to_quantize() -> None:
    relu = TextModel("(float[n,3] x) => (float[n,3] y) { y = Relu(x) }")
    with pytest.raises(UnsupportedModelError, match="nothing to quantize in the model: no products"):
        quantized(relu)
    squared = TextModel("(float[n,3] x) => (float[n,n] y) { t = Transpose<perm=[1,0]>(x) y = MatMul(x, t) }")
    with pytest.raises(UnsupportedModelError, match="MatMul: both factors are computed"):
        quantized(squared)


def test_what_is_saved_is_the_model(tmp_path: Path) -> None:
    found = quantized(DENSE)
    found.save(tmp_path / "q.onnx")
    assert onnx.load(tmp_path / "q.onnx") == found.model


def test_fashion_mnist_in_bytes() -> None:
    """The bar of the zoo: 88.0 % of 10,000 images, images to calibrate on are others."""
    fashion = evaluation("fashion-mnist")
    found = dsc.quantize(  # type: ignore[operator]
        dsc.models.fetch("fashion-mlp"), fashion.calibration(64), evaluate=fashion.metric
    )
    assert found.report.accuracy is not None
    assert found.report.accuracy.quantized >= 0.88
    assert found.report.share == 1
