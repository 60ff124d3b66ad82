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


CONV = ["QuantizeLinear", "conv(ConvInteger Cast Mul Add Clip Round Cast)"]
MATMUL = ["QuantizeLinear", "matmul(MatMulInteger Cast Mul Add Clip Round Cast)"]
CASES: dict[str, tuple[Callable[[], Graph], list[str]]] = {
    "conv": (convolution, CONV),
    "conv with a bias": (lambda: convolution(bias=True, pads=[1, 1, 0, 1], strides=[2, 1]), CONV),
    "conv of one scale": (lambda: convolution(bias=True, single=True, dilations=[2, 1]), CONV),
    "depthwise": (lambda: convolution((8, 1, 3, 3), bias=True, group=8), CONV),
    "matmul": (product, MATMUL),
    "matmul of columns": (lambda: product(columns=True, zero=np.int8(0)), MATMUL),
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
    "a scale that only a run tells": (lambda: computed(5), "a scale or a zero point are not known"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusals(name: str) -> None:
    make, reason = REFUSED[name]
    after = make()
    (record,) = Pipeline.parse("integers").run(after)
    assert any("QLinear" in op for op in summary(after))
    assert any(reason in str(miss) for miss in record.near_misses()), record.near_misses()
