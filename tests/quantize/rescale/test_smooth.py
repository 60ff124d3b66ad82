"""SmoothQuant: outliers go into weights where that makes less error, and the float function stays."""

from __future__ import annotations

from functools import cache

import numpy as np
import onnx
import pytest

from dsc.check import Reference
from dsc.quantize.layers import find_layers
from dsc.quantize.network import Network
from dsc.quantize.policy import Policy
from dsc.quantize.prepare import prepare
from dsc.quantize.quantize import quantize
from dsc.quantize.quantized import Report
from dsc.quantize.rescale.smooth import Smoothed, smooth
from dsc.quantize.scheme import Smoothing, StaticScheme
from tests.compiled import TextModel
from tests.quantize.nets import names, samples, weight
from tests.quantize.rescale.nets import BLOCK, NORM, ROWS, TAIL

COUNT = 24
"""Samples: half of them have to say what channels do in the other half."""


@cache
def smoothed(
    model: TextModel, smoothing: Smoothing = "fold", per_channel: bool = True
) -> tuple[onnx.ModelProto, onnx.ModelProto, list[Smoothed]]:
    network = Network(prepare(model.proto()))
    scheme = StaticScheme(smoothing=smoothing, per_channel=per_channel)
    rescaled, found = smooth(network, find_layers(network), samples(model, COUNT), scheme)
    return network.model, rescaled.model(), found


@cache
def report(model: TextModel, smoothing: Smoothing) -> Report:
    return quantize(
        model.proto(), samples(model, COUNT), policy=Policy(scheme=StaticScheme(smoothing=smoothing))
    ).report


@pytest.mark.parametrize("smoothing", ["fold", "insert"])
@pytest.mark.parametrize("model", [BLOCK, NORM, TAIL, ROWS], ids=["block", "norm", "tail", "rows"])
def test_the_float_function_stays(model: TextModel, smoothing: Smoothing) -> None:
    before, after, found = smoothed(model, smoothing)
    onnx.checker.check_model(after, full_check=True)
    assert found
    for feed in samples(model, 2, seed=9):
        wanted, got = (Reference(proto, 1).run({"x": 3 * feed["x"]}) for proto in (before, after))
        for name, expected in wanted.items():
            np.testing.assert_allclose(got[name], expected, rtol=0, atol=3e-6 * np.abs(expected).max())


def test_a_norm_takes_the_factors_of_all_that_read_it() -> None:
    before, after, found = smoothed(NORM)
    (one,) = found
    assert [reader.name for reader in one.joint.readers] == ["query", "value"]
    assert one.decibels > 2
    assert [node.op_type for node in after.graph.node] == [node.op_type for node in before.graph.node]
    plain, better = report(NORM, "none"), report(NORM, "fold")
    assert better.snr > plain.snr + 4  # type: ignore[operator]
    for before_, after_ in zip(plain.layers, better.layers, strict=True):
        assert after_.methods[0].startswith("smoothed by ")
        assert after_.snr > before_.snr + 4  # type: ignore[operator]


def test_scalars_behind_an_activation_become_vectors() -> None:
    """A depthwise convolution has a scale for each channel of its data then: all of the strength goes there."""
    before, after, found = smoothed(TAIL)
    assert [one.strength > 0.6 for one in found] == [True]
    arrays = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in after.graph.initializer}
    scaled = [node for node in after.graph.node if node.name in ("scale", "shift")]
    assert [next(arrays[name].shape for name in node.input if name in arrays) for node in scaled] == [(8, 1, 1)] * 2
    assert len(after.graph.node) == len(before.graph.node)
    plain, better = report(TAIL, "none"), report(TAIL, "fold")
    gains = {a.name: a.snr - b.snr for a, b in zip(better.layers, plain.layers, strict=True)}  # type: ignore[operator]
    assert gains["deep"] > 2
    assert gains["stem"] == pytest.approx(0, abs=0.1)
    assert better.snr > plain.snr  # type: ignore[operator]


def test_a_product_is_inserted_only_if_asked_for() -> None:
    """The sum reads the norm too: there is no place for factors."""
    text = """(float[n,16] x) => (float[n,16] y) {
        [norm] t = LayerNormalization(x, scale)
        [out] o = MatMul(t, w)
        [sum] y = Add(t, o)
    }"""
    model = TextModel(text, {"scale": NORM.weights["scale"], "w": weight(16, 16)}, 17)
    _, after, found = smoothed(model)
    assert (found, names(after, "Mul")) == ([], [])
    _, after, found = smoothed(model, "insert")
    assert [one.joint.tensor for one in found] == ["t"]
    assert len(names(after, "Mul")) == 1
    assert {node.name: list(node.input) for node in after.graph.node}["sum"] == ["t", "o"]


def test_a_clip_is_made_another_operator_only_if_asked_for() -> None:
    assert len(names(smoothed(BLOCK)[1], "Min")) == 0
    assert len(names(smoothed(BLOCK, "insert")[1], "Min")) == 1


def test_nothing_is_done_where_nothing_is_gained() -> None:
    """Channels of the same width; and the product before a joint, where weights have one scale, stays as it is."""
    ones, signs = np.ones(16, np.float32), {name: np.sign(NORM.weights[name]) for name in ("w0", "w1")}
    even = TextModel(NORM.text, {"scale": ones, "shift": 0 * ones, **signs}, 17)
    assert smoothed(even)[2] == []
    assert smoothed(ROWS, per_channel=False)[2] == []
    assert report(even, "fold").layers[0].methods == ()


def test_channels_of_zeros_stay() -> None:
    scale, weights = NORM.weights["scale"].copy(), NORM.weights["w0"].copy()
    scale[2], weights[5] = 0, 0
    model = TextModel(NORM.text, {**NORM.weights, "scale": scale, "shift": 0 * scale, "w0": weights}, 17)
    before, after, found = smoothed(model)
    assert found
    (feed,) = samples(model, 1)
    expected, got = (Reference(proto, 1).run(feed) for proto in (before, after))
    np.testing.assert_allclose(got["y"], expected["y"], rtol=0, atol=3e-6 * np.abs(expected["y"]).max())


def test_the_choice_is_the_same_each_time() -> None:
    again = smoothed.__wrapped__(NORM, "insert")[1]
    assert again.SerializeToString() == smoothed(NORM, "insert")[1].SerializeToString()
