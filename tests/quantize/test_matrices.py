"""Layers as products of matrices, against ONNX Runtime."""

from __future__ import annotations

import numpy as np
import pytest

from dsc.quantize.layers import find_layers
from dsc.quantize.matrices import Matrices
from dsc.quantize.network import Network
from dsc.quantize.prepare import prepare
from tests.compiled import TextModel
from tests.quantize.nets import weight

CONVS = {
    "plain": ("", (3, 4, 7, 6), (5, 4, 3, 2)),
    "strided": ("<strides=[2,3], pads=[1,0,2,1]>", (2, 4, 7, 9), (5, 4, 3, 2)),
    "dilated": ("<dilations=[2,1], pads=[2,2,2,2]>", (1, 3, 8, 5), (4, 3, 3, 3)),
    "grouped": ("<group=3, pads=[1,1,1,1]>", (1, 6, 5, 4), (9, 2, 3, 3)),
    "depthwise": ("<group=4, strides=[2,2]>", (2, 4, 6, 7), (8, 1, 3, 3)),
    "upper": ('<auto_pad="SAME_UPPER", strides=[2,2]>', (1, 2, 7, 6), (3, 2, 4, 3)),
    "lower": ('<auto_pad="SAME_LOWER", strides=[1,2]>', (1, 2, 7, 6), (3, 2, 4, 3)),
    "valid": ('<auto_pad="VALID">', (1, 2, 7, 6), (3, 2, 4, 3)),
    "signal": ("<pads=[1,0]>", (2, 3, 9), (4, 3, 4)),
    "volume": ("", (1, 2, 4, 5, 3), (3, 2, 2, 2, 2)),
}


def matrices(model: TextModel) -> tuple[Matrices, np.ndarray]:
    network = Network(prepare(model.proto()))
    (layer,) = find_layers(network)
    array = network.constant(layer.weight)
    assert array is not None
    return Matrices.of(network, layer), array


@pytest.mark.parametrize("name", CONVS)
def test_convolutions(name: str) -> None:
    attributes, shape, taps = CONVS[name]
    ends = [f"float[{','.join(dims)}]" for dims in (map(str, shape), "abcde"[: len(shape)])]
    model = TextModel(f"({ends[0]} x) => ({ends[1]} y) {{ y = Conv{attributes}(x, w) }}", {"w": weight(*taps)}, 17)
    x = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
    (expected,) = model.reference({"x": x})
    found, array = matrices(model)
    products = found.rows(x, 10**6, np.random.default_rng(0)) @ found.columns(array)
    by_place = np.moveaxis(expected, 1, -1).reshape(-1, found.groups, found.width).transpose(1, 0, 2)
    np.testing.assert_allclose(products, by_place, atol=1e-5)
    np.testing.assert_array_equal(found.weight(found.columns(array)), array)
    some = found.rows(x, 3, np.random.default_rng(0)) @ found.columns(array)
    assert some.shape == (found.groups, 3, found.width)
    assert all(np.isclose(products, row, atol=1e-5).all((0, 2)).any() for row in some.transpose(1, 0, 2)[:, :, None])


@pytest.mark.parametrize(
    ("op", "shape"), [("MatMul(x, w)", (5, 3)), ("Gemm<transB=1>(x, w)", (3, 5)), ("Gemm(x, w)", (5, 3))]
)
def test_products(op: str, shape: tuple[int, int]) -> None:
    model = TextModel(f"(float[n,5] x) => (float[n,3] y) {{ y = {op} }}", {"w": weight(*shape)}, 17)
    x = np.random.default_rng(1).standard_normal((7, 5)).astype(np.float32)
    found, array = matrices(model)
    products = found.rows(x, 10**6, np.random.default_rng(0)) @ found.columns(array)
    np.testing.assert_allclose(products[0], model.reference({"x": x})[0], atol=1e-6)
    np.testing.assert_array_equal(found.weight(found.columns(array)), array)
