"""Adaptive rounding of a model's layers: their outputs on samples come nearer to those in float."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from dsc.quantize.calibration import calibrate
from dsc.quantize.insert import grids_of
from dsc.quantize.layers import find_layers
from dsc.quantize.network import Network
from dsc.quantize.policy import Policy
from dsc.quantize.prepare import prepare
from dsc.quantize.quantize import quantize
from dsc.quantize.rounding import adaptive, round_adaptively
from dsc.quantize.scheme import StaticScheme
from tests.compiled import TextModel
from tests.quantize.nets import CONVS, DENSE, PRODUCTS, Feed, samples
from tests.quantize.rescale.nets import BLOCK
from tests.quantize.test_insert import Made

NETS = {"convolutions": CONVS, "attention": PRODUCTS, "dense": DENSE, "grouped": BLOCK}


def mixed(model: TextModel, count: int, seed: int) -> list[Feed]:
    """Samples whose elements have much in common, as pixels do: else there is nothing to make up for."""
    found = []
    for feed in samples(model, count, seed):
        array = feed["x"]
        common = array.reshape(len(array), -1)[:, 0].reshape(-1, *[1] * (array.ndim - 1))
        found.append({"x": array + 3 * common + 1})
    return found


@pytest.mark.parametrize("name", NETS)
def test_no_layer_loses(name: str) -> None:
    scheme = StaticScheme(rounding="adaptive", smoothing="none")
    report = quantize(NETS[name].proto(), mixed(NETS[name], 10, 1), policy=Policy(scheme=scheme)).report
    rounded = [layer for layer in report.layers if layer.quantized]
    assert all(layer.methods == ("rounded",) for layer in rounded)
    assert all(layer.gain > -0.15 for layer in rounded)  # type: ignore[operator]  # weights are drawn to what they were
    assert sum(layer.gain for layer in rounded) > 1  # type: ignore[misc]


@pytest.mark.parametrize("corrects_bias", [True, False])
def test_it_holds_for_other_data(corrects_bias: bool) -> None:
    """Against float64, of the first layer, with and without the bias that puts means right."""
    net, scheme = Made(DENSE), StaticScheme(rounding="adaptive", corrects_bias=corrects_bias)
    ranges = calibrate(net.network.model, mixed(DENSE, 30, 2), tensors=["x", "b"])["minmax"]
    grids = grids_of(net.network, net.layers, ranges, scheme)
    found = round_adaptively(net.network, net.layers, mixed(DENSE, 30, 2), grids, scheme)["first"]
    x = np.concatenate([feed["x"] for feed in mixed(DENSE, 30, 3)])
    weight = DENSE.weights["w0"].astype(np.float64)
    scale = np.abs(weight).max(1, keepdims=True) / 127
    data = grids["x"].dequantized(grids["x"].quantized(x)).astype(np.float64)

    def error(rounded: np.ndarray) -> float:
        wrong = x @ weight.T - data @ (rounded * scale).T
        return float(np.square(wrong - wrong.mean(0) * corrects_bias).mean())

    assert np.abs(found - weight / scale).max() < 1 + 1e-4
    assert error(found) < 0.95 * error(np.rint(weight / scale))


def test_what_is_written_are_those_bytes() -> None:
    scheme = StaticScheme(rounding="adaptive", smoothing="none", weight_bits=7)
    model = quantize(DENSE.proto(), mixed(DENSE, 10, 1), policy=Policy(scheme=scheme)).model
    bytes_ = {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}["w0_quantized"]
    steps = DENSE.weights["w0"] / (np.abs(DENSE.weights["w0"]).max(1, keepdims=True) / 63)
    assert bytes_.dtype == np.int8
    assert np.abs(bytes_).max() == 63
    assert 0 < np.mean(bytes_ != np.rint(steps)) < 0.5
    assert np.abs(bytes_ - steps).max() < 1 + 1e-4


def test_layers_that_do_not_fit_in_memory_together(monkeypatch: pytest.MonkeyPatch) -> None:
    network = Network(prepare(CONVS.proto()))
    layers = find_layers(network)
    net, scheme = Made(CONVS), StaticScheme()
    grids = grids_of(net.network, net.layers, net.ranges, scheme)
    together = round_adaptively(network, layers, samples(CONVS), grids, scheme)
    told: list[tuple[int, int]] = []
    monkeypatch.setattr(adaptive, "_MEMORY", 1)
    apart = round_adaptively(
        network, layers, samples(CONVS), grids, scheme, on_progress=lambda done, all_: told.append((done, all_))
    )
    assert told == [(done, 5) for done in range(1, 6)]
    for name, bytes_ in together.items():
        np.testing.assert_array_equal(apart[name], bytes_)
