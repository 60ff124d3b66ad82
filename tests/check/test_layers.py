from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import onnx
import pytest

from dsc.check import deviation as deviation_module
from dsc.check.deviation import Deviations
from dsc.check.layer_picture import check_picture, draw_layers
from dsc.check.layers import LayerError, LayerReport, compare_layers
from dsc.errors import UsageError
from tests.check.quantized import quantized_by_hand
from tests.compiled import TextModel
from tests.quantize.tapped import tapped

RANDOM = np.random.default_rng(4)
WEIGHTS = {
    "w": RANDOM.standard_normal((4, 3, 3, 3)).astype(np.float32),
    "v": RANDOM.standard_normal((4, 4, 1, 1)).astype(np.float32),
}
FLOAT = TextModel(
    "(float[n,3,5,h] x) => (float[n,4,5,h] y)"
    " { c = Conv<pads=[1,1,1,1]>(x, w) r = Relu(c) d = Conv(r, v) y = Add(d, r) k = Shape(y) }",
    WEIGHTS,
)
GRIDS = {"x": (0.03, 128), "r": (0.1, 0), "d": (0.25, 140)}
FEEDS = [{"x": RANDOM.standard_normal((n, 3, 5, 7)).astype(np.float32)} for n in (2, 1)]


@pytest.fixture(scope="module")
def quantized() -> onnx.ModelProto:
    """x, r and d on grids, r only for the second convolution; the first convolution with other weights."""
    proto = quantized_by_hand(FLOAT.proto(), GRIDS)
    (add,) = [node for node in proto.graph.node if node.op_type == "Add"]
    add.input[1] = "r"
    (w,) = [t for t in proto.graph.initializer if t.name == "w"]
    w.CopyFrom(onnx.numpy_helper.from_array(np.round(WEIGHTS["w"] * 8) / np.float32(8), "w"))
    return proto


@pytest.fixture(scope="module")
def report(quantized: onnx.ModelProto) -> LayerReport:
    return compare_layers(FLOAT.proto(), quantized, FEEDS)


def errors(report: LayerReport) -> dict[str, LayerError]:
    return {layer.tensor: layer for layer in report.layers}


def close(found: object, expected: list[np.ndarray], actual: list[np.ndarray]) -> None:
    """The three numbers, in float64 on everything at once."""
    x, y = (np.concatenate([a.reshape(-1) for a in arrays]).astype(np.float64) for arrays in (expected, actual))
    snr = 10 * np.log10(np.sum(x**2) / np.sum((x - y) ** 2))
    cosine = x @ y / (np.linalg.norm(x) * np.linalg.norm(y))
    assert isinstance(found, deviation_module.Deviation)
    assert (found.snr, found.max_abs, found.cosine) == pytest.approx((snr, np.abs(x - y).max(), cosine), rel=1e-5)


def test_accumulated_errors_are_those_of_what_stands_for_each_tensor(
    report: LayerReport, quantized: onnx.ModelProto
) -> None:
    expected = {**tapped(FLOAT.proto(), ["c", "r", "d", "y"], FEEDS), "x": [feed["x"] for feed in FEEDS]}
    stands = {"x": "x.dq", "c": "c", "r": "r.dq", "d": "d.dq", "y": "y"}
    actual = tapped(quantized, list(stands.values()), FEEDS)
    assert [layer.tensor for layer in report.layers] == list(stands)  # of k, integers, there is no error
    assert report.samples == 2
    for name, it in stands.items():
        close(errors(report)[name].accumulated, expected[name], actual[it])


def test_own_errors_are_those_of_the_float_layer_on_what_the_quantized_one_is_given(
    report: LayerReport, quantized: onnx.ModelProto
) -> None:
    names = ["x.dq", "c", "r", "r.dq", "d.dq", "y"]
    given = tapped(quantized, names, FEEDS)
    conv = TextModel("(float[n,3,5,h] x) => (float[n,4,5,h] c) { c = Conv<pads=[1,1,1,1]>(x, w) }", WEIGHTS)
    second = TextModel("(float[n,4,5,h] r) => (float[n,4,5,h] d) { d = Conv(r, v) }", WEIGHTS)
    found = errors(report)
    close(found["c"].own, [conv.reference({"x": x})[0] for x in given["x.dq"]], given["c"])
    close(found["r"].own, [np.maximum(c, 0) for c in given["c"]], given["r.dq"])
    close(found["d"].own, [second.reference({"r": r})[0] for r in given["r.dq"]], given["d.dq"])
    own = found["y"].own  # adds r as it was before it was quantized, and has no error of its own
    assert own is not None
    assert own.snr == math.inf
    assert found["x"].own == found["x"].accumulated  # an input's error is that of its own grid


def test_the_worst_is_first(report: LayerReport) -> None:
    ratios = [layer.accumulated.snr for layer in report.worst_first]
    assert ratios == sorted(ratios)
    own = [layer.own.snr for layer in report.worst_own_first if layer.own is not None]
    assert own == sorted(own)
    assert "y" not in [layer.tensor for layer in report.worst_own_first]


def test_a_model_is_equal_to_itself() -> None:
    report = compare_layers(FLOAT.proto(), FLOAT.proto(), FEEDS)
    assert {layer.accumulated.snr for layer in report.layers} == {math.inf}
    assert {layer.own.snr for layer in report.layers if layer.own} == {math.inf}
    assert report.worst_own_first == []


def test_tensors_without_a_namesake_are_part_of_the_layer_after_them(quantized: onnx.ModelProto) -> None:
    renamed = onnx.ModelProto()
    renamed.CopyFrom(quantized)
    for node in renamed.graph.node:
        node.input[:] = ["other" if name == "c" else name for name in node.input]
        node.output[:] = ["other" if name == "c" else name for name in node.output]
    found = compare_layers(FLOAT.proto(), renamed, FEEDS)
    assert [layer.tensor for layer in found.layers] == ["x", "r", "d", "y"]
    assert found.unmatched == 1  # c
    layers = TextModel(
        "(float[n,3,5,h] x) => (float[n,4,5,h] r) { c = Conv<pads=[1,1,1,1]>(x, w) r = Relu(c) }", WEIGHTS
    )
    given = tapped(quantized, ["x.dq", "r.dq"], FEEDS)
    close(errors(found)["r"].own, [layers.reference({"x": x})[0] for x in given["x.dq"]], given["r.dq"])


def test_layers_of_integers_and_of_several_results() -> None:
    """An own error needs all that the layer reads: integers of inputs are there, computed ones are not."""
    text = """(float[6,4] x, int64[3] i) => (float[3,2] y)
        { g = Gather(x, i) a, b = Split<axis=1, num_outputs=2>(g) j = Add(i, i) s = Add(a, b) y = Gather(s, j) }"""
    model = TextModel(text).proto()
    feed = {"x": RANDOM.standard_normal((6, 4)).astype(np.float32), "i": np.array([0, 1, 0])}
    found = errors(compare_layers(model, quantized_by_hand(model, {"g": (0.02, 128), "a": (0.1, 128)}), [feed]))
    assert list(found) == ["x", "g", "a", "b", "s", "y"]
    assert {name: layer.own is None for name, layer in found.items() if layer.own is None} == {"y": True}
    own = {name: layer.own.snr for name, layer in found.items() if layer.own is not None}
    assert {name for name, snr in own.items() if snr == math.inf} == {"x", "b", "s"}


def test_another_shape_is_noted() -> None:
    other = TextModel(
        "(float[n,3,5,h] x) => (float[n,4,5,h] y)"
        " { c = Conv<pads=[1,1,1,1]>(x, w) r = Relu(c) d = Transpose(r) y = Identity(r) }",
        {"w": WEIGHTS["w"]},
    )
    found = compare_layers(FLOAT.proto(), other.proto(), FEEDS)
    assert "d" not in errors(found)
    assert "d has another shape in the quantized model" in found.notes


def test_models_that_are_not_one_are_refused() -> None:
    other = TextModel("(float[n,3,5,h] x) => (float[n,3,5,h] z) { z = Neg(x) }").proto()
    other.graph.input[0].name = other.graph.node[0].input[0] = "input"
    with pytest.raises(UsageError, match=r"the quantized model takes input: float32.*; the float model x: float32"):
        compare_layers(FLOAT.proto(), other, FEEDS)
    with pytest.raises(UsageError, match=r"input x: float32\[n, 3, 5, h\]: dim 1 must be 3"):
        compare_layers(FLOAT.proto(), FLOAT.proto(), [{"x": np.zeros((1, 4, 5, 7), np.float32)}])


def counted(*pairs: tuple[list[float], list[float]]) -> tuple[float, float, float]:
    counts = Deviations()
    for x, y in pairs:
        counts.add(np.array(x, np.float32), np.array(y, np.float32))
    found = counts.result()
    return found.snr, found.max_abs, found.cosine


def test_deviations() -> None:
    assert counted(([3, 4], [3, 3]), ([0], [1])) == pytest.approx((10 * np.log10(12.5), 1, 21 / np.sqrt(25 * 19)))
    assert counted(([1, -np.inf, np.nan], [1, -np.inf, np.nan])) == (math.inf, 0, 1)
    assert counted(([1, 2], [1, np.inf]))[:2] == (-math.inf, math.inf)
    assert counted(([0, 0], [0, 0])) == (math.inf, 0, 1)
    snr, largest, cosine = counted(([0, 0], [0, 2]))
    assert snr < -1000
    assert (largest, cosine) == (2, 0)
    assert counted(([], [])) == (math.inf, 0, 1)


def test_a_picture_names_the_worst_layers(report: LayerReport, tmp_path: Path) -> None:
    first, second = tmp_path / "a.svg", tmp_path / "b.svg"
    for path in (first, second):
        draw_layers(report, "a title", path)
    assert first.read_bytes() == second.read_bytes()
    text = first.read_text()
    assert "<!-- a title -->" in text
    assert all(f"<!-- {name} -->" in text for name in ("c", "d", "r"))
    assert text.count("<use ") > 8  # a mark for each error


def test_no_picture_of_other_kinds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match=r"pictures are \.svg, \.png"):
        check_picture(tmp_path / "a.jpg")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UsageError, match="matplotlib, which is not installed"):
        check_picture(tmp_path / "a.svg")
