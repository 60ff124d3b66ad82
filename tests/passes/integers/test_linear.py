"""QLinearConv and QLinearMatMul, the products from bytes to bytes: integer products as in any other quantized model."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from dsc.ir import Graph
from dsc.passes import Pipeline
from dsc.pipeline import compile_model
from tests.passes.net import Net, feeds, run, summary

WEIGHT_ZERO = np.uint8(128)
SCALE, ZERO, OUT_SCALE, OUT_ZERO = np.float32(0.05), np.uint8(120), np.float32(0.1), np.uint8(100)


def convolution(
    shape: tuple[int, ...] = (12, 8, 3, 3), *, bias: bool = False, single: bool = False, **attributes: object
) -> Graph:
    """Weights of 7 bits: without VNNI, ONNX Runtime's products of 8 bits saturate."""
    net = Net(x=(1, 8, 6, 5))
    x = net.QuantizeLinear(net.inputs()[0], SCALE, ZERO)
    w = net.rng.integers(-64, 64, shape, np.int8)
    scales = np.float32(0.01) if single else net.rng.uniform(0.001, 0.02, shape[0]).astype(np.float32)
    zeros = np.int8(0) if single else np.zeros(shape[0], np.int8)
    biases = [net.rng.integers(-2000, 2000, shape[0], np.int32)] if bias else []
    y = net.QLinearConv(x, SCALE, ZERO, w, scales, zeros, OUT_SCALE, OUT_ZERO, *biases, **attributes)
    return net.done(y)


def product(*, columns: bool = False, zero: np.generic = WEIGHT_ZERO, rows: int = 4) -> Graph:
    net = Net(x=(rows, 24))
    x = net.QuantizeLinear(net.inputs()[0], SCALE, ZERO)
    middle = 128 if zero.dtype == np.uint8 else 0
    w = net.rng.integers(middle - 64, middle + 64, (24, 10), zero.dtype)
    scales = net.rng.uniform(0.001, 0.02, 10).astype(np.float32) if columns else np.float32(0.02)
    zeros = np.full(10, zero) if columns else zero
    return net.done(net.QLinearMatMul(x, SCALE, ZERO, w, scales, zeros, OUT_SCALE, OUT_ZERO))


def attention() -> Graph:
    """Both products of activations: queries by keys, and what a softmax made of them by values."""
    net = Net(q=(2, 9, 24), k=(2, 9, 24), v=(2, 9, 24))
    keys, heads = (2, 9, 3, 8), []
    for x, perm in zip(net.inputs(), ([0, 2, 1, 3], [0, 2, 3, 1], [0, 2, 1, 3]), strict=True):
        split = net.Reshape(net.QuantizeLinear(x, np.float32(0.02), ZERO), np.array(keys, np.int64))
        heads.append(net.Transpose(split, perm=perm))
    q, k, v = heads
    scale, step = np.float32(0.02), np.float32(1 / 255)
    scores = net.QLinearMatMul(q, scale, ZERO, k, scale, ZERO, np.float32(0.15), np.uint8(128))
    weights = net.Softmax(net.DequantizeLinear(scores, np.float32(0.15), np.uint8(128)), axis=-1)
    quantized = net.QuantizeLinear(weights, step, np.uint8(0))
    y = net.QLinearMatMul(quantized, step, np.uint8(0), v, scale, ZERO, np.float32(0.01), ZERO)
    return net.done(net.Reshape(net.Transpose(y, perm=[0, 2, 1, 3]), np.array((2, 9, 24), np.int64)))


def of_activations(*, left: tuple[int, ...] = (3, 4, 24), right: tuple[int, ...] = (3, 24, 5)) -> Graph:
    net = Net(x=left, w=right)
    x, w = (net.QuantizeLinear(each, SCALE, ZERO) for each in net.inputs())
    one = np.array([SCALE])
    return net.done(net.QLinearMatMul(x, SCALE, ZERO, w, one, np.array([ZERO]), OUT_SCALE, OUT_ZERO))


CONV = ["QuantizeLinear", "conv(ConvInteger Cast Mul Add Clip Round Cast)"]
MATMUL = ["QuantizeLinear", "matmul(MatMulInteger Cast Mul Add Clip Round Cast)"]
OF_ACTIVATIONS = [*["elementwise(QuantizeLinear DequantizeLinear)"] * 2, "matmul(MatMul QuantizeLinear)"]
CASES: dict[str, tuple[Callable[[], Graph], list[str]]] = {
    "conv": (convolution, CONV),
    "conv with a bias": (lambda: convolution(bias=True, pads=[1, 1, 0, 1], strides=[2, 1]), CONV),
    "conv of one scale": (lambda: convolution(bias=True, single=True, dilations=[2, 1]), CONV),
    "depthwise": (lambda: convolution((8, 1, 3, 3), bias=True, group=8), CONV),
    "matmul": (product, MATMUL),
    "matmul of columns": (lambda: product(columns=True, zero=np.int8(0)), MATMUL),
    "two activations": (of_activations, OF_ACTIVATIONS),
    "a matrix for all of a batch": (lambda: of_activations(right=(24, 5)), OF_ACTIVATIONS),
    "one row": (lambda: product(columns=True, zero=np.int8(0), rows=1), MATMUL),
}


@pytest.mark.parametrize("name", CASES)
def test_before_and_after(name: str) -> None:
    """Rewritten, and compiled: bytes are within one step, where ONNX Runtime's several roundings and ours part."""
    make, expected = CASES[name]
    before, after = make(), make()
    Pipeline.parse("integers,canonicalize,requantize,fuse").run(after)
    assert summary(after) == expected
    inputs = feeds(before)
    compiled = compile_model(make()).model.load(1).run(inputs)
    for wanted, rewritten, found in zip(run(before, inputs), run(after, inputs), compiled.values(), strict=True):
        for got in (rewritten, found):
            off = np.abs(got.astype(np.int32) - wanted)
            assert off.max() <= 1
            assert (off > 0).mean() < 0.05
        assert np.unique(wanted).size >= 5


def test_products_of_activations_are_attention() -> None:
    """As in QDQ files: one region from bytes to bytes, within one step of ONNX Runtime."""
    before, after = attention(), attention()
    Pipeline.parse("integers,canonicalize,requantize,fuse{quantized-attention=true}").run(after)
    *quantized, region = summary(after)
    assert quantized == ["QuantizeLinear"] * 3
    assert region.startswith("attention(")
    inputs = feeds(before)
    model = compile_model(attention()).model
    assert "cpu.attention" in [kernel["kernel"] for kernel in model.manifest.kernels]
    (wanted,) = run(before, inputs)
    for found in (*run(after, inputs), *model.load(1).run(inputs).values()):
        off = np.abs(found.astype(np.int32) - wanted)
        assert off.max() <= 1
        assert (off > 0).mean() < 0.05
    assert np.unique(wanted).size >= 20


def computed(at: int) -> Graph:
    """Of a parameter that only a run tells."""
    net = Net(x=(4, 24), p=())
    x, parameter = net.inputs()
    given = [SCALE, ZERO, net.rng.integers(-64, 64, (24, 10), np.int8), SCALE, np.int8(0), OUT_SCALE, OUT_ZERO]
    given[at] = parameter
    return net.done(net.QLinearMatMul(net.QuantizeLinear(x, SCALE, ZERO), *given))


def scales_of_rows() -> Graph:
    net = Net(x=(4, 24))
    x = net.QuantizeLinear(net.inputs()[0], SCALE, ZERO)
    w, many = net.rng.integers(-64, 64, (24, 10), np.int8), np.full(4, SCALE)
    return net.done(net.QLinearMatMul(x, many, np.full(4, ZERO), w, SCALE, np.int8(0), OUT_SCALE, OUT_ZERO))


def three_dims() -> Graph:
    net = Net(x=(2, 4, 24))
    x = net.QuantizeLinear(net.inputs()[0], SCALE, ZERO)
    w = net.rng.integers(-64, 64, (2, 24, 10), np.int8)
    return net.done(net.QLinearMatMul(x, SCALE, ZERO, w, SCALE, np.int8(0), OUT_SCALE, OUT_ZERO))


def scales_of_columns() -> Graph:
    net = Net(x=(4, 24), w=(24, 10))
    x, w = (net.QuantizeLinear(each, SCALE, ZERO) for each in net.inputs())
    return net.done(net.QLinearMatMul(x, SCALE, ZERO, w, np.full(10, SCALE), np.full(10, ZERO), OUT_SCALE, OUT_ZERO))


def computed_filters() -> Graph:
    net = Net(x=(1, 8, 6, 5), w=(4, 8, 1, 1))
    x, w = (net.QuantizeLinear(each, SCALE, ZERO) for each in net.inputs())
    return net.done(net.QLinearConv(x, SCALE, ZERO, w, SCALE, ZERO, OUT_SCALE, OUT_ZERO))


def computed_bias() -> Graph:
    net = Net(x=(1, 8, 6, 5), b=(4,))
    x, bias = net.inputs()
    w = net.rng.integers(-64, 64, (4, 8, 1, 1), np.int8)
    quantized = net.QuantizeLinear(x, SCALE, ZERO)
    biases = net.Cast(bias, to=6)
    return net.done(net.QLinearConv(quantized, SCALE, ZERO, w, SCALE, np.int8(0), OUT_SCALE, OUT_ZERO, biases))


REFUSED: dict[str, tuple[Callable[[], Graph], str]] = {
    "a scale of each row": (scales_of_rows, "the scale of a tensor is not one number"),
    "a weight that is no matrix": (three_dims, "its weight is no matrix"),
    "a bias that only a run tells": (computed_bias, "the bias is not constant"),
    "a scale that only a run tells": (lambda: computed(5), "a scale or a zero point is not known"),
    "columns of activations": (scales_of_columns, "the scale of a tensor is not one number"),
    "filters that only a run tells": (computed_filters, "the weights are not constant"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusals(name: str) -> None:
    make, reason = REFUSED[name]
    after = make()
    (record,) = Pipeline.parse("integers").run(after)
    assert any("QLinear" in op for op in summary(after))
    assert any(reason in str(miss) for miss in record.near_misses()), record.near_misses()
