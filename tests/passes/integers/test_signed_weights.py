"""Weights of any zero point: what becomes of products by them, what does not, and that no sum changes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from dsc.ir import Graph, element_of, element_of_dtype, onnx, tensor
from dsc.passes import PassRecord, Pipeline
from dsc.passes.integers.signed_weights import SignedWeights
from dsc.pipeline import compile_model
from tests.passes.net import Net, feeds, run, summary

KEPT = "integers,canonicalize,requantize,unsigned,fuse"
SCALE, ZERO = np.float32(0.05), np.uint8(120)
ZEROS = (0, 1, 127, 128, 255)
QUANTIZED = "QuantizeLinear"


def all_bytes(net: Net, shape: tuple[int, ...], dtype: type[np.generic] = np.uint8) -> np.ndarray:
    """From the least to the greatest."""
    ends = np.iinfo(dtype)
    array = net.rng.integers(ends.min, ends.max, shape, dtype, endpoint=True)
    array.reshape(-1)[:2] = ends.min, ends.max
    return array


def dequantized(net: Net, x, zero: np.generic = ZERO):
    return net.DequantizeLinear(net.QuantizeLinear(x, SCALE, zero), SCALE, zero)


def weights(net: Net, shape: tuple[int, ...], axis: int, zero: int | None = 3):
    """Of one zero point, or of one for each output channel where none is given."""
    zeros = np.uint8(zero) if zero is not None else net.rng.integers(0, 255, shape[axis], np.uint8, endpoint=True)
    scale = np.full(np.shape(zeros), 0.01, np.float32)
    return net.DequantizeLinear(all_bytes(net, shape), scale, zeros, axis=axis)


def product(zero: int | None = 3, x_zero: np.generic = ZERO) -> Graph:
    net = Net(x=(4, 24))
    return net.done(net.MatMul(dequantized(net, net.inputs()[0], x_zero), weights(net, (24, 10), 1, zero)))


def gemm(zero: int | None = None) -> Graph:
    net = Net(x=(4, 24))
    x = dequantized(net, net.inputs()[0])
    return net.done(net.Gemm(x, weights(net, (10, 24), 0, zero), net.random(10), transB=1))


def projections() -> Graph:
    """Three products of one tensor."""
    net = Net(x=(4, 24))
    x = dequantized(net, net.inputs()[0])
    return net.done(*(net.MatMul(x, weights(net, (24, 10), 1, zero)) for zero in (3, 99, None)))


def conv(zero: int | None = 3, group: int = 1, pads: int = 1) -> Graph:
    net = Net(x=(1, 16, 6, 5))
    w = weights(net, (16, 16 // group, 3, 3), 0, zero)
    return net.done(net.Conv(dequantized(net, net.inputs()[0]), w, net.random(16), pads=[pads] * 4, group=group))


def dynamic(zero: int = 150) -> Graph:
    net = Net(x=(4, 24))
    q = net.op(onnx.DynamicQuantizeLinear, net.inputs()[0])
    bytes_, scale, x_zero = q.results
    y = net.MatMulInteger(bytes_, all_bytes(net, (24, 10)), x_zero, np.uint8(zero))
    return net.done(net.Mul(net.Cast(y, to=element_of_dtype(np.float32).code), scale))


def linear_conv() -> Graph:
    net = Net(x=(1, 8, 6, 5))
    q = net.QuantizeLinear(net.inputs()[0], SCALE, ZERO)
    w, zeros = all_bytes(net, (12, 8, 3, 3)), net.rng.integers(0, 255, 12, np.uint8, endpoint=True)
    y = net.QLinearConv(q, SCALE, ZERO, w, np.full(12, 0.01, np.float32), zeros, np.float32(0.5), np.uint8(9))
    return net.done(net.DequantizeLinear(y, np.float32(0.5), np.uint8(9)))


def linear_matmul() -> Graph:
    net = Net(x=(4, 24))
    q = net.QuantizeLinear(net.inputs()[0], SCALE, ZERO)
    w = all_bytes(net, (24, 10))
    y = net.QLinearMatMul(q, SCALE, ZERO, w, np.float32(0.01), np.uint8(77), np.float32(0.5), np.uint8(9))
    return net.done(net.DequantizeLinear(y, np.float32(0.5), np.uint8(9)))


SUMS = "matmul(MatMulInteger)"
CASES: dict[str, tuple[Callable[[], Graph], list[str]]] = {
    "matmul": (product, [QUANTIZED, SUMS, "matmul(Mul MatMulInteger Sub Cast Mul)"]),
    "matmul, zero points of columns": (
        lambda: product(None), [QUANTIZED, SUMS, "matmul(Mul MatMulInteger Sub Cast Mul)"],
    ),
    "matmul, of signed bytes": (
        lambda: product(x_zero=np.int8(-3)), [QUANTIZED, SUMS, "matmul(Mul MatMulInteger Sub Cast Mul)"],
    ),
    "matmul, nothing left over": (lambda: product(128), [QUANTIZED, "matmul(MatMulInteger Cast Mul)"]),
    "gemm": (gemm, [QUANTIZED, SUMS, "matmul(Mul MatMulInteger Sub Cast Mul Add)"]),
    "one sum for all products": (
        projections, [QUANTIZED, SUMS, *["matmul(Mul MatMulInteger Sub Cast Mul)"] * 3],
    ),
    "conv": (conv, [QUANTIZED, "conv(ConvInteger)", "conv(ConvInteger Sub Cast Mul Add)"]),
    "conv, zero points of channels": (
        lambda: conv(None), [QUANTIZED, "conv(ConvInteger)", "conv(Mul ConvInteger Sub Cast Mul Add)"],
    ),
    "conv in groups": (
        lambda: conv(None, group=4), [QUANTIZED, "conv(ConvInteger)", "conv(ConvInteger Mul Sub Cast Mul Add)"],
    ),
    "depthwise conv": (lambda: conv(group=16), [QUANTIZED, "conv(ConvInteger Cast Mul Add)"]),
    "depthwise conv, zero points of channels": (
        lambda: conv(None, group=16), [QUANTIZED, "conv(ConvInteger Cast Mul Add)"],
    ),
    "qlinear_conv": (
        linear_conv,
        [QUANTIZED, "conv(ConvInteger)", "conv(Mul ConvInteger Sub Cast Mul Add Clip Round Cast DequantizeLinear)"],
    ),
    "qlinear_matmul": (
        linear_matmul,
        [QUANTIZED, SUMS, "matmul(Mul MatMulInteger Sub Cast Mul Add Clip Round Cast DequantizeLinear)"],
    ),
    "dynamic": (dynamic, ["DynamicQuantizeLinear", SUMS, "matmul(Mul MatMulInteger Sub Cast Mul)"]),
}  # fmt: skip


def rewritten(graph: Graph, passes: str = KEPT) -> list[PassRecord]:
    return Pipeline.parse(passes).run(graph)


@pytest.mark.parametrize("name", CASES)
def test_before_and_after(name: str) -> None:
    """Compiled rather than run by ONNX Runtime, whose products of 8 bits saturate where VNNI is missing; against its
    floats, of which sums of some 200 terms are rounded."""
    make, expected = CASES[name]
    before, after = make(), make()
    rewritten(after)
    assert summary(after) == expected
    inputs = feeds(before)
    found = compile_model(make(), passes=f"{KEPT},layout").model.load(threads=1).run(inputs).values()
    step = 0.5 if name.startswith("qlinear") else 0.0  # a tie may be rounded to the other side
    for wanted, array in zip(run(before, inputs), found, strict=True):
        off = np.abs(array - wanted)
        assert off.max() <= step + 1e-5 * np.abs(wanted).max()
        assert (off > 0.1 * step + 1e-5 * np.abs(wanted).max()).mean() <= 0.01


@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
@pytest.mark.parametrize("channels", [False, True])
def test_no_weight_changes(dtype: type[np.generic], channels: bool) -> None:
    """``array - rest`` are the weights less their zero points, whatever range they have."""
    ends, rng = np.iinfo(dtype), np.random.default_rng(5)
    least, most = int(ends.min), int(ends.max)
    for low, high in [(least, most), (least, least), (most, most), (least, 20), (100, most)]:
        w = rng.integers(low, high, (5, 7), dtype, endpoint=True)
        for zero in (z + least for z in ZEROS):
            zeros = np.array([zero, *rng.integers(least, most, 6, endpoint=True)] if channels else zero, dtype)
            signed = SignedWeights.of(w, zeros, 1)
            assert signed.array.dtype == np.int8
            rest = 0 if signed.rest is None else signed.rest.astype(np.int64)
            np.testing.assert_array_equal(signed.array - rest, w.astype(np.int64) - zeros)
            if (np.abs(w.astype(np.int64) - zeros) < 128).all():
                assert signed.rest is None


def deep(zero: int, terms: int) -> Graph:
    net = Net(x=(1, terms))
    return net.done(net.MatMul(dequantized(net, net.inputs()[0]), weights(net, (terms, 4), 1, zero)))


def integers(x: tuple[int, ...], w: np.ndarray, zero: np.ndarray, op: str, **attributes: int) -> Graph:
    net = Net()
    net.graph = Graph.build([("x", tensor(np.uint8, x))])
    return net.done(getattr(net, op)(net.inputs()[0], w, np.uint8(7), zero, **attributes))


def depthwise_integers() -> Graph:
    w = np.arange(-128, 128, dtype=np.int8).reshape(4, 1, 8, 8)
    return integers((1, 4, 9, 9), w, np.int8(5), "ConvInteger", group=4)


def stacked() -> Graph:
    w = np.zeros((2, 5, 3), np.uint8)
    return integers((2, 4, 5), w, np.arange(6, dtype=np.uint8).reshape(2, 1, 3), "MatMulInteger")


REFUSED: dict[str, tuple[Callable[[], Graph], str]] = {
    "too many terms": (lambda: deep(3, 33_026), "the sum may leave 32 bits"),
    "depthwise": (depthwise_integers, "a depthwise convolution takes the zero point off itself"),
    "zero points of matrices": (stacked, "the zero points are not those of the output channels"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusals(name: str) -> None:
    make, reason = REFUSED[name]
    (record,) = rewritten(make(), "integers")
    assert not any("integer" in rule for rule in record.fired)
    assert any(reason in str(miss) for miss in record.near_misses())


@pytest.mark.parametrize(("zero", "terms"), [(3, 33_025), (128, 65_793)])
def test_most_terms(zero: int, terms: int) -> None:
    (record,) = rewritten(deep(zero, terms), "integers")
    assert any("integer" in rule for rule in record.fired)


def test_signed_activations_become_unsigned() -> None:
    """Products by ones are products of bytes as others are."""
    graph = product(x_zero=np.int8(-3))
    Pipeline.parse("integers,canonicalize,requantize,unsigned").run(graph)
    factors = [op.A for op in graph.ops() if isinstance(op, onnx.MatMulInteger)]
    assert len(factors) == 2
    assert {element_of(factor.type).dtype for factor in factors} == {np.dtype(np.uint8)}
