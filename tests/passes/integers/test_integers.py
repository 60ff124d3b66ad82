"""Quantized models keep their integers: what becomes an integer product, what does not, and what comes out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from xdsl.ir import SSAValue

from dsc.ir import FusionOp, Graph, element_of_dtype, onnx, tensor
from dsc.lower.workload import Workload
from dsc.passes import PassRecord, Pipeline
from tests.passes.net import Net, feeds, run, summary

KEPT = "integers,canonicalize,requantize,fuse"
SCALE, ZERO = np.float32(0.05), np.uint8(120)


def rewritten(graph: Graph, passes: str = KEPT) -> list[PassRecord]:
    return Pipeline.parse(passes).run(graph)


def quantized(net: Net, x: SSAValue, scale: np.float32 = SCALE, zero: np.generic = ZERO) -> SSAValue:
    """A tensor as bytes, and dequantized again."""
    found: SSAValue = net.DequantizeLinear(net.QuantizeLinear(x, scale, zero), scale, zero)
    return found


def weights(net: Net, shape: tuple[int, ...], axis: int, zero: int = 0, dtype: type[np.generic] = np.int8) -> SSAValue:
    """Dequantized constant bytes, of a scale for each step along `axis`.

    Of 7 bits: without VNNI, ONNX Runtime's products of 8 bits saturate.
    """
    middle = 0 if dtype == np.int8 else 128
    array = net.rng.integers(middle - 64, middle + 63, shape, dtype, endpoint=True)
    scales = net.rng.uniform(0.001, 0.02, shape[axis]).astype(np.float32)
    zeros = np.full(shape[axis], zero, dtype)
    found: SSAValue = net.DequantizeLinear(array, scales, zeros, axis=axis)
    return found


def convolution(**changes: object) -> Graph:
    settings = {"zero": ZERO, "weight_zero": 0, "weight_type": np.int8, **changes}
    net = Net(x=(1, 8, 6, 5))
    x = quantized(net, net.inputs()[0], zero=settings["zero"])
    w = weights(net, (12, 8, 3, 3), 0, settings["weight_zero"], settings["weight_type"])
    y = net.Relu(net.Conv(x, w, net.random(12), pads=[1, 1, 1, 1]))
    return net.done(quantized(net, y, np.float32(0.1), np.uint8(3)))


def product() -> Graph:
    net = Net(x=(4, 24))
    x = quantized(net, net.inputs()[0])
    return net.done(net.Add(net.MatMul(x, weights(net, (24, 10), 1)), net.random(10)))


def gemm() -> Graph:
    net = Net(x=(4, 24))
    x = quantized(net, net.inputs()[0], zero=np.int8(-3))
    return net.done(net.Gemm(x, weights(net, (10, 24), 0), net.random(10), transB=1))


def transposed_weights() -> Graph:
    net = Net(x=(4, 24))
    w = net.Transpose(weights(net, (10, 24), 0), perm=[1, 0])
    return net.done(net.MatMul(quantized(net, net.inputs()[0]), w))


def residual() -> Graph:
    net = Net(x=(1, 8, 6, 5))
    x = quantized(net, net.inputs()[0])
    y = quantized(net, net.Conv(x, weights(net, (8, 8, 1, 1), 0)), np.float32(0.2), np.uint8(100))
    return net.done(quantized(net, net.Relu(net.Add(y, x)), np.float32(0.15), np.uint8(0)))


def moved() -> Graph:
    net = Net(x=(1, 8, 6, 6))
    x = quantized(net, net.inputs()[0])
    y = quantized(net, net.MaxPool(x, kernel_shape=[2, 2], strides=[2, 2]))
    return net.done(net.Conv(y, weights(net, (4, 8, 3, 3), 0)))


def joined() -> Graph:
    net = Net(x=(1, 8, 6, 5))
    x = quantized(net, net.inputs()[0])
    parts = [
        quantized(net, net.Conv(x, weights(net, (4, 8, 1, 1), 0)), np.float32(scale), ZERO) for scale in (0.1, 0.2)
    ]
    return net.done(quantized(net, net.Concat(*parts, axis=1), np.float32(0.15), np.uint8(90)))


def known_later() -> Graph:
    """By a scale that is a constant only once constants were folded."""
    net = Net(x=(4, 24))
    scale = net.Mul(np.float32(0.1), np.float32(0.5))
    x = net.DequantizeLinear(net.QuantizeLinear(net.inputs()[0], scale, ZERO), scale, ZERO)
    y = net.Transpose(net.DequantizeLinear(net.QuantizeLinear(x, scale, ZERO), scale, ZERO), perm=[1, 0])
    return net.done(y)


def divided() -> Graph:
    net = Net(x=(4, 24))
    y = quantized(net, net.MatMul(quantized(net, net.inputs()[0]), weights(net, (24, 10), 1)), np.float32(0.11))
    return net.done(quantized(net, net.Div(y, np.float32(2.83)), np.float32(0.047)))


def clamped(kind: str = "Relu", zero: np.generic = ZERO, scale: float = 0.11) -> Graph:
    """Quantized before and after it, as where an activation is not seen to be one with what is before."""
    net = Net(x=(1, 8, 6, 5))
    step = np.float32(0.11)
    y = net.Conv(quantized(net, net.inputs()[0], zero=zero), weights(net, (8, 8, 1, 1), 0), net.random(8))
    y = quantized(net, y, step, zero)
    limits = () if kind == "Relu" else (np.float32(-0.3), np.float32(0.6))
    return net.done(quantized(net, getattr(net, kind)(y, *limits), np.float32(scale), zero))


def cut(zero: np.generic) -> Graph:
    """Quantized after it alone."""
    net = Net(x=(1, 8, 6, 5))
    y = net.Conv(quantized(net, net.inputs()[0]), weights(net, (8, 8, 1, 1), 0), net.random(8))
    return net.done(quantized(net, net.Clip(y, np.float32(-0.3), np.float32(0.6)), np.float32(0.11), zero))


def quantized_weights() -> Graph:
    """Weights as training with quantization leaves them: floats that are quantized."""
    net = Net(x=(4, 24))
    x = quantized(net, net.inputs()[0])
    return net.done(net.MatMul(x, quantized(net, net.value(net.random(24, 10)), np.float32(0.02), np.int8(0))))


CASES: dict[str, tuple[Callable[[], Graph], list[str]]] = {
    "conv": (
        convolution,
        ["QuantizeLinear", "conv(ConvInteger Cast Mul Add Clip Round Cast DequantizeLinear)"],
    ),
    "matmul": (product, ["QuantizeLinear", "matmul(MatMulInteger Cast Mul Add)"]),
    "gemm": (gemm, ["QuantizeLinear", "matmul(MatMulInteger Cast Mul Add)"]),
    "transposed weights": (transposed_weights, ["QuantizeLinear", "matmul(MatMulInteger Cast Mul)"]),
    "residual": (
        residual,
        [
            "QuantizeLinear",
            "conv(ConvInteger Cast Mul Add Clip Round Cast DequantizeLinear DequantizeLinear Add Clip Round Cast "
            "DequantizeLinear)",
        ],
    ),
    "known later": (known_later, ["QuantizeLinear", "Transpose", "DequantizeLinear"]),
    "divided": (
        divided,
        [
            "QuantizeLinear",
            "matmul(MatMulInteger Cast Mul Add Clip Round Cast DequantizeLinear Add Clip Round Cast DequantizeLinear)",
        ],
    ),
    "relu of bytes": (
        lambda: clamped(zero=np.int8(-4)),
        ["QuantizeLinear", "conv(ConvInteger Cast Mul Add Clip Round Cast DequantizeLinear)"],
    ),
    "clip of bytes": (
        lambda: clamped("Clip"),
        ["QuantizeLinear", "conv(ConvInteger Cast Mul Add Clip Round Cast DequantizeLinear)"],
    ),
    "a clip alone": (
        lambda: cut(np.uint8(7)),
        ["QuantizeLinear", "conv(ConvInteger Cast Mul Add Clip Round Cast DequantizeLinear)"],
    ),
    "a clip alone, of signed bytes": (
        lambda: cut(np.int8(-3)),
        ["QuantizeLinear", "conv(ConvInteger Cast Mul Add Clip Round Cast DequantizeLinear)"],
    ),
    "quantized weights": (quantized_weights, ["QuantizeLinear", "matmul(MatMulInteger Cast Mul)"]),
    "a pool of bytes": (moved, ["QuantizeLinear", "pool(MaxPool)", "conv(ConvInteger Cast Mul)"]),
    "concat": (
        joined,
        [
            "QuantizeLinear",
            *["conv(ConvInteger Cast Mul Add Clip Round Cast DequantizeLinear Add Clip Round Cast)"] * 2,
            "Concat",
            "DequantizeLinear",
        ],
    ),
}


def check_near(before: Graph, after: Graph) -> None:
    """Outputs differ by the rounding of floats only; quantized ones here and there by one step of 0.15."""
    inputs = feeds(before)
    for expected, found in zip(run(before, inputs), run(after, inputs), strict=True):
        off = np.abs(found - expected)
        assert off.max() <= 0.21
        assert (off > 1e-4 * np.abs(expected).max()).mean() < 0.02


@pytest.mark.parametrize("name", CASES)
def test_before_and_after(name: str) -> None:
    make, expected = CASES[name]
    before, after = make(), make()
    rewritten(after)
    assert summary(after) == expected
    check_near(before, after)


def test_unsigned_weights_become_signed() -> None:
    after = convolution(weight_zero=128, weight_type=np.uint8)
    rewritten(after)
    assert "ConvInteger" in summary(after)[1]
    check_near(convolution(weight_zero=128, weight_type=np.uint8), after)


def test_layers_of_other_scales_have_the_same_code() -> None:
    """Scales, biases and zero points of inputs are operands of a region."""
    net = Net(x=(1, 72, 6, 5))
    x = net.inputs()[0]
    for scale, zero in ((0.05, 120), (0.11, 7), (0.3, 7)):
        x = quantized(net, x, np.float32(scale), np.uint8(zero))
        x = net.Relu(net.Conv(x, weights(net, (72, 72, 1, 1), 0), net.random(72)))
    graph = net.done(quantized(net, x, np.float32(0.2), np.uint8(7)))
    rewritten(graph)
    regions = [op for op in graph.ops() if isinstance(op, FusionOp)]
    first, second = (Workload.of(region) for region in regions[:2])
    assert "ConvInteger" in first.key()
    assert first.key() == second.key()


def test_zero_points_of_results_without_a_bias_are_operands_too() -> None:
    """A transformer's products, which are quantized before the bias is added: code for all layers, not for each."""
    net = Net(x=(4, 72))
    x = net.inputs()[0]
    for scale, zero in ((0.05, 120), (0.11, 81), (0.3, 99)):
        x = net.MatMul(quantized(net, x, np.float32(scale), np.uint8(zero)), weights(net, (72, 72), 1))
    graph = net.done(quantized(net, x, np.float32(0.2), np.uint8(7)))
    before = graph.clone()
    rewritten(graph)
    regions = [op for op in graph.ops() if isinstance(op, FusionOp)]
    first, second = (Workload.of(region) for region in regions[:2])
    assert "MatMulInteger" in first.key()
    assert first.key() == second.key()
    check_near(before, graph)


def computed_weights() -> Graph:
    net = Net(x=(4, 24), w=(24, 10))
    x, w = (quantized(net, v) for v in net.inputs())
    return net.done(net.MatMul(x, w))


def scale_of_rows() -> Graph:
    net = Net(x=(4, 24))
    return net.done(net.MatMul(quantized(net, net.inputs()[0]), weights(net, (24, 10), 0)))


def computed_scale() -> Graph:
    net = Net(x=(4, 24), s=())
    x, scale = net.inputs()
    bytes_ = net.DequantizeLinear(net.QuantizeLinear(x, scale, ZERO), scale, ZERO)
    return net.done(net.MatMul(bytes_, weights(net, (24, 10), 1)))


def sixteen_bits() -> Graph:
    net = Net(x=(4, 24))
    return net.done(net.MatMul(quantized(net, net.inputs()[0], zero=np.uint16(7)), weights(net, (24, 10), 1)))


def constant_of_sixteen_bits() -> Graph:
    net = Net(x=(4, 24))
    w = quantized(net, net.value(net.random(24, 10)), np.float32(0.001), np.int16(0))
    return net.done(net.MatMul(quantized(net, net.inputs()[0]), w))


def one_dimensional() -> Graph:
    net = Net(x=(1, 8, 20))
    return net.done(net.Conv(quantized(net, net.inputs()[0]), weights(net, (4, 8, 3), 0)))


def small_groups() -> Graph:
    net = Net(x=(1, 8, 6, 5))
    return net.done(net.Conv(quantized(net, net.inputs()[0]), weights(net, (8, 2, 3, 3), 0), group=4))


def padding_to_be_found() -> Graph:
    net = Net(x=(1, 8, 6, 5))
    w = weights(net, (8, 8, 3, 3), 0)
    return net.done(net.Conv(quantized(net, net.inputs()[0]), w, auto_pad="SAME_UPPER"))


REFUSED: dict[str, tuple[Callable[[], Graph], str]] = {
    "no constant weights": (computed_weights, "the weights are not constant"),
    "scales along the depth": (scale_of_rows, "the scales are not those of the output channels"),
    "a scale that only a run tells": (computed_scale, "the scale is not one number that is known"),
    "one dimension": (one_dimensional, "it is not 2-dimensional"),
    "groups of two": (small_groups, "groups of so few channels"),
    "auto_pad": (padding_to_be_found, "its padding is no number of pixels"),
    "a constant of 16 bits": (constant_of_sixteen_bits, "it does not make bytes of float32"),
    "16 bits": (sixteen_bits, "what is quantized is not bytes"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusals(name: str) -> None:
    make, reason = REFUSED[name]
    after = make()
    (record,) = rewritten(after, "integers")
    assert not any("integer" in rule for rule in record.fired)
    assert any(reason in str(miss) for miss in record.near_misses())


def a_scale_too_small() -> Graph:
    net = Net(x=(1, 4, 3, 3))
    y = net.Mul(net.inputs()[0], np.full((4, 1, 1), 1e30, np.float32))
    return net.done(quantized(net, y, np.float32(1e-20)))


def of_a_constant() -> Graph:
    net = Net(x=(4,))
    return net.done(net.Add(net.inputs()[0], quantized(net, net.value(net.random(4)))))


def divided_by_channels() -> Graph:
    net = Net(x=(4, 8))
    return net.done(quantized(net, net.Div(quantized(net, net.inputs()[0]), 1 + net.random(8))))


NOT_REQUANTIZED: dict[str, tuple[Callable[[], Graph], str]] = {
    "other divisors": (divided_by_channels, "what is quantized has no constant to take the scale"),
    "beyond float32": (a_scale_too_small, "what is quantized has no constant to take the scale"),
    "a constant": (of_a_constant, "what is quantized is constant"),
    "a scale that only a run tells": (computed_scale, "the scale is not a positive number that is known"),
}


@pytest.mark.parametrize("name", NOT_REQUANTIZED)
def test_what_keeps_its_division(name: str) -> None:
    make, reason = NOT_REQUANTIZED[name]
    (record,) = rewritten(make(), "requantize")
    assert not record.fired
    assert any(reason in str(miss) for miss in record.near_misses())


CLAMP = "q(clip(dq(x))) => clip(x), of one scale and zero point; relu too"
CLAMPS: dict[str, tuple[str, np.generic, tuple[object, ...], list[int | None]]] = {
    "relu": ("Relu", np.int8(0), (), [0, None]),
    "relu of a zero point": ("Relu", np.uint8(7), (), [7, None]),
    "relu from the least byte on": ("Relu", np.uint8(0), (), []),
    "clip": ("Clip", np.int8(-3), (np.float32(-0.26), np.float32(0.6)), [-8, 9]),
    "of a tie": ("Clip", np.int8(0), (np.float32(0.125), np.float32(0.375)), [2, 8]),
    "below": ("Clip", np.int8(0), (None, np.float32(1)), [None, 20]),
    "beyond the bytes": ("Clip", np.int8(0), (np.float32(-1e38), np.float32(np.inf)), []),
    "limits that cross": ("Clip", np.int8(0), (np.float32(1), np.float32(-1)), [20, -20]),
}


@pytest.mark.parametrize("name", CLAMPS)
def test_clamps_of_all_bytes(name: str) -> None:
    """Each byte gives what it gave, at limits between two steps too."""
    kind, zero, limits, expected = CLAMPS[name]
    scale = np.float32(0.05)

    def clamp() -> Graph:
        net = Net()
        net.graph = Graph.build([("x", tensor(zero.dtype, (256,)))])
        y = getattr(net, kind)(net.DequantizeLinear(net.inputs()[0], scale, zero), *limits)
        return net.done(net.QuantizeLinear(y, scale, zero))

    before, after = clamp(), clamp()
    (record,) = rewritten(after, "integers")
    assert record.fired[CLAMP] == 1
    clips = [op for op in after.ops() if isinstance(op, onnx.Clip)]
    found = [None if v is None else after.constant(v).item() for op in clips for v in op.node_inputs()[1:]]
    assert found + [None] * (len(expected) - len(found)) == expected
    every = {"x": np.arange(256, dtype=np.uint8).view(zero.dtype)}
    for wanted, got in zip(run(before, every), run(after, every), strict=True):
        np.testing.assert_array_equal(got, wanted)


def limit_of_a_run() -> Graph:
    net = Net(x=(4,), limit=())
    x, limit = net.inputs()
    return net.done(quantized(net, net.Clip(quantized(net, x), limit)))


def scale_turned_round() -> Graph:
    net = Net(x=(4,))
    return net.done(quantized(net, net.Relu(quantized(net, net.inputs()[0], np.float32(-1))), np.float32(-1)))


NOT_CLAMPED: dict[str, tuple[Callable[[], Graph], str]] = {
    "another scale": (lambda: clamped(scale=0.12), "scales or zero points differ"),
    "a limit that only a run tells": (limit_of_a_run, "a limit is not known"),
    "a negative scale": (scale_turned_round, "the scale is not a positive number"),
}


@pytest.mark.parametrize("name", NOT_CLAMPED)
def test_clamps_that_stay_floats(name: str) -> None:
    make, reason = NOT_CLAMPED[name]
    (record,) = rewritten(make(), "integers")
    assert not record.fired[CLAMP]
    assert any(CLAMP in str(miss) and reason in str(miss) for miss in record.near_misses())


TWICE = "clip(byte(round(clip(x, a, b))), c, d) => byte(round(clip(x, a', b'))), a', b' being a, b between c and d"


def clipped_twice(
    first: tuple[float, float], second: tuple[int | None, int | None], dtype: type[np.generic] = np.int8
) -> Graph:
    net = Net(x=(600,))
    clipped = net.Clip(net.inputs()[0], *map(np.float32, first))
    byte = net.Cast(net.Round(clipped), to=element_of_dtype(dtype).code)
    return net.done(net.Clip(byte, *(None if end is None else dtype(end) for end in second)))


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ((-128, 127), (0, None), [0, 127]),
        ((-128, 127), (-5, 9), [-5, 9]),
        ((-4, 3), (-5, 9), [-4, 3]),
        ((-4, 3), (7, 9), [7, 7]),
        ((-4.5, 3.5), (None, 2), [-4.5, 2]),
        ((-4, 3), (1, -1), [-1, -1]),
    ],
)
def test_two_clips_are_one(
    first: tuple[float, float], second: tuple[int | None, int | None], expected: list[float]
) -> None:
    before, after = clipped_twice(first, second), clipped_twice(first, second)
    (record,) = rewritten(after, "requantize")
    assert record.fired[TWICE] == 1
    assert summary(after) == ["Clip", "Round", "Cast"]
    (clip,) = (op for op in after.ops() if isinstance(op, onnx.Clip))
    assert [after.constant(end).item() for end in clip.node_inputs()[1:]] == expected
    inputs = {"x": np.linspace(-150, 150, 600, dtype=np.float32)}
    for wanted, got in zip(run(before, inputs), run(after, inputs), strict=True):
        np.testing.assert_array_equal(got, wanted)


def limit_of_bytes() -> Graph:
    net = Net(x=(4,), limit=())
    x, limit = (net.Cast(net.Round(net.Clip(v, np.float32(-9), np.float32(9))), to=3) for v in net.inputs())
    return net.done(net.Clip(x, limit))


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: clipped_twice((-200, 127), (0, 5)), "what is cast may be no byte"),
        (lambda: clipped_twice((3, -4), (0, 5)), "what is cast may be no byte"),
        (lambda: clipped_twice((-9, 9), (0, 5), np.int32), "it does not make bytes of float32"),
        (limit_of_bytes, "a limit is not known"),
    ],
)
def test_two_clips_that_stay_two(make: Callable[[], Graph], reason: str) -> None:
    (record,) = rewritten(make(), "requantize")
    assert not record.fired[TWICE]
    assert any(reason in str(miss) for miss in record.near_misses())
