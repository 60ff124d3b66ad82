from __future__ import annotations

import math

import numpy as np
import onnx
import pytest

from dsc.check import Reference
from dsc.quantize.insert import grids_of
from dsc.quantize.layers import count_macs, find_layers
from dsc.quantize.quantized_layer import quantize_layer
from dsc.quantize.scheme import StaticScheme
from dsc.quantize.sensitivity import Sensitivity, measure
from tests.quantize.nets import CONVS, DENSE, PRODUCTS, samples
from tests.quantize.test_insert import Made


def test_it_is_what_the_layer_alone_does() -> None:
    """Against float64, for the second layer, which reads what the first gives in float."""
    net, given, scheme = Made(DENSE), samples(DENSE, 5, seed=3), StaticScheme()
    found, shapes = measure(net.network, find_layers(net.network), given, net.ranges, scheme)
    w0, b0, w1, b1 = (DENSE.weights[name].astype(np.float64) for name in ("w0", "b0", "w1", "b1"))
    x = np.concatenate([feed["x"] for feed in given]).astype(np.float64)
    b = np.maximum(x @ w0.T + b0, 0)
    grid = grids_of(net.network, net.layers, net.ranges, scheme)["b"]
    parts = quantize_layer(net.network, net.layers[1], grid, scheme)
    w = parts.grid.dequantized(parts.weight).astype(np.float64)
    error = (b @ w1 + b1) - (grid.dequantized(grid.quantized(b)).astype(np.float64) @ w + b1)
    second = found["second"]
    assert second.power == pytest.approx(np.mean((b @ w1 + b1) ** 2), rel=1e-4)
    assert second.error == pytest.approx(np.mean(error**2), rel=0.02)  # the bias is in steps, too
    np.testing.assert_allclose(second.offset, error.mean(0), atol=0.02 * np.abs(error).max())
    assert second.decibels(True) >= second.decibels(False) > 30
    assert shapes["x"] == (3, 19)


def test_a_shift_by_the_offset_puts_the_mean_right() -> None:
    net, given, scheme = Made(CONVS), samples(CONVS), StaticScheme(weight_bits=7)
    before, _ = measure(net.network, net.layers, given, net.ranges, scheme)
    name = "last"
    layer = next(layer for layer in net.layers if layer.name == name)

    def means(model: onnx.ModelProto) -> np.ndarray:
        reference = Reference(model, 1)
        return np.mean([reference.run(feed)["y"].mean((0, 2, 3)) for feed in given], axis=0)

    expected = means(net.network.model)
    off = np.abs(means(net.quantized(scheme, [layer])) - expected).max()
    corrected = means(net.quantized(scheme, [layer], {name: before[name].offset})) - expected
    assert np.abs(corrected).max() < 0.05 * off


def test_decibels_of_what_is_exact_and_what_is_lost() -> None:
    assert Sensitivity(4.0, 0.04, np.float64([0.0])).decibels(False) == pytest.approx(20)
    assert Sensitivity(4.0, 0.05, np.float64([0.1, -0.1])).decibels(True) == pytest.approx(20)
    assert Sensitivity(4.0, 0.0, np.float64([0.0])).decibels(True) == math.inf
    assert Sensitivity(0.0, 0.1, np.float64([0.0])).decibels(True) == -math.inf


def test_multiply_adds() -> None:
    """By hand: (outputs) x (taps and channels of a group), and products of computed factors too."""
    net = Made(CONVS)
    _, shapes = measure(net.network, find_layers(net.network), samples(CONVS, 1), net.ranges, StaticScheme())
    macs = count_macs(net.network, find_layers(net.network), shapes)
    pixels, pooled = 13 * 11, 6 * 5
    assert macs == {
        "stem": 8 * pixels * 27, "deep": 8 * pixels * 9, "point": 12 * pooled * 16, "side": 12 * pooled * 16,
        "last": 6 * 4 * 3 * 12 * 9,
    }  # fmt: skip
    net = Made(PRODUCTS)
    _, shapes = measure(net.network, find_layers(net.network), samples(PRODUCTS, 1), net.ranges, StaticScheme())
    macs = count_macs(net.network, find_layers(net.network), shapes)
    assert macs == {"key": 15 * 24 * 24, "scores": 15 * 5 * 24, "mix": 15 * 24 * 5, "out": 15 * 7 * 24}
