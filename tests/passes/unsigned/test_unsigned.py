"""Signed bytes that become unsigned: which do, with which zero points, which do not, and that no bit differs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from xdsl.ir import SSAValue

from dsc.exchange import import_model
from dsc.ir import Graph, OnnxOp, element_of, is_constant, onnx, tensor
from dsc.passes import PassRecord, Pipeline
from dsc.passes.unsigned.signs import not_negative
from dsc.pipeline import compile_model, preset
from dsc.targets import target
from tests.compiled import TextModel
from tests.passes.net import Net, feeds, run

QUANTIZED = "integers,canonicalize,requantize"
SIZES = {"n": 3}
Zero = int | None


def quantized(net: Net, x: SSAValue, scale: float = 0.05, zero: int = 0) -> SSAValue:
    """A tensor as signed bytes, and dequantized again."""
    step, byte = np.float32(scale), np.int8(zero)
    found: SSAValue = net.DequantizeLinear(net.QuantizeLinear(x, step, byte), step, byte)
    return found


def convolved(net: Net, x: SSAValue, shape: tuple[int, ...], **attributes: object) -> SSAValue:
    """By weights of 7 bits: without VNNI, ONNX Runtime's products of 8 bits saturate."""
    w = net.DequantizeLinear(net.rng.integers(-64, 63, shape, np.int8), np.float32(0.01))
    found: SSAValue = net.Conv(x, w, net.random(shape[0]), **attributes)
    return found


def chain(zero: int = 0, batch: int | str = 1) -> Graph:
    net = Net(x=(batch, 6, 7, 5))
    y = convolved(net, quantized(net, net.inputs()[0], zero=-3), (5, 6, 3, 3), pads=[1, 1, 1, 1])
    return net.done(convolved(net, quantized(net, net.Relu(y), 0.02, zero), (3, 5, 3, 3), pads=[0, 2, 1, 0]))


def residual() -> Graph:
    net = Net(x=(1, 8, 6, 5))
    x = quantized(net, net.inputs()[0])
    y = quantized(net, convolved(net, x, (8, 8, 1, 1)), 0.2)
    return net.done(convolved(net, quantized(net, net.Add(y, x), 0.15), (4, 8, 1, 1)))


def depthwise() -> Graph:
    net = Net(x=(1, 8, 6, 5))
    x = quantized(net, convolved(net, quantized(net, net.inputs()[0]), (8, 8, 1, 1)), 0.1)
    y = quantized(net, convolved(net, x, (8, 1, 3, 3), group=8), 0.3)
    return net.done(convolved(net, y, (4, 8, 1, 1)))


def depthwise_alone(zero: int) -> Graph:
    net = Net(x=(1, 8, 6, 5))
    x = quantized(net, net.inputs()[0], zero=zero)
    return net.done(convolved(net, x, (8, 1, 3, 3), group=8, pads=[1, 1, 1, 1]))


def moved() -> Graph:
    net = Net(x=(1, 8, 6, 6))
    x = net.MaxPool(quantized(net, net.inputs()[0]), kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    x = net.Slice(x, np.array([1]), np.array([5]), np.array([2]))
    return net.done(convolved(net, net.Transpose(x, perm=[0, 1, 3, 2]), (4, 8, 3, 3)))


def joined() -> Graph:
    """Of constants among others, one of which is negative."""
    net = Net(x=(1, 4, 6, 5))
    x = quantized(net, net.Relu(convolved(net, quantized(net, net.inputs()[0]), (4, 4, 1, 1))))
    rows = net.rng.integers(-128, 127, (1, 4, 6, 5), np.int8, endpoint=True)
    return net.done(convolved(net, net.Concat(x, net.DequantizeLinear(rows, np.float32(0.05)), axis=1), (4, 8, 1, 1)))


def rescaled() -> Graph:
    """What is not negative is so by another scale, and as a sum."""
    net = Net(x=(1, 4, 6, 5))
    x = quantized(net, net.Relu(convolved(net, quantized(net, net.inputs()[0]), (4, 4, 1, 1))))
    y = quantized(net, net.Relu(convolved(net, x, (4, 4, 1, 1))), 0.1)
    return net.done(convolved(net, quantized(net, net.Add(x, y), 0.07), (4, 4, 1, 1)))


def between(low: float, high: float, zero: int = 0, scale: float = 0.02) -> Graph:
    """Bytes cut to limits, which are quantized again, read by two products."""
    net = Net(x=(1, 6, 7, 5))
    y = quantized(net, convolved(net, quantized(net, net.inputs()[0]), (8, 6, 1, 1)), 0.02, zero)
    y = quantized(net, net.Clip(y, np.float32(low), np.float32(high)), 0.02, zero)
    again = y if scale == 0.02 else quantized(net, y, scale)
    return net.done(convolved(net, y, (3, 8, 3, 3), pads=[1, 1, 1, 1]), convolved(net, again, (4, 8, 1, 1)))


def clipped_again() -> Graph:
    """No byte is negative, but a limit is."""
    net = Net(x=(1, 6, 7, 5))
    x = quantized(net, net.Relu(convolved(net, quantized(net, net.inputs()[0]), (8, 6, 1, 1))))
    y = quantized(net, net.Clip(x, np.float32(-1), np.float32(1)))
    return net.done(convolved(net, x, (3, 8, 1, 1)), convolved(net, y, (3, 8, 1, 1)))


def gemm() -> Graph:
    net = Net(x=(4, 24))
    w = net.DequantizeLinear(net.rng.integers(-64, 63, (10, 24), np.int8), np.float32(0.01))
    return net.done(net.Gemm(quantized(net, net.inputs()[0], zero=-3), w, net.random(10), transB=1))


def looked_up() -> Graph:
    net = Net(x=(1, 8, 6, 5))
    x = quantized(net, net.inputs()[0])
    return net.done(convolved(net, quantized(net, net.Tanh(x), 0.01, -9), (4, 8, 1, 1)))


def looked_up_too(relu: bool = False) -> Graph:
    """Read by a product and by two tables, one of them of bytes that a product reads."""
    net = Net(x=(1, 8, 6, 5))
    x = net.Relu(convolved(net, quantized(net, net.inputs()[0]), (8, 8, 1, 1))) if relu else net.inputs()[0]
    x = quantized(net, x)
    y = convolved(net, quantized(net, net.Tanh(x), 0.01, -9), (4, 8, 1, 1))
    return net.done(convolved(net, x, (4, 8, 1, 1)), y, quantized(net, net.Sigmoid(x), 0.005, -128))


def clipped() -> Graph:
    net = Net(x=(1, 8, 6, 5))
    x = net.Clip(quantized(net, net.inputs()[0]), np.float32(-2), np.float32(1.5))
    return net.done(convolved(net, quantized(net, x), (4, 8, 1, 1)))


def without_zero_points() -> Graph:
    """The type of the result is an attribute."""
    net = Net(x=(2, 8))
    q = net.QuantizeLinear(net.inputs()[0], np.float32(0.05), output_dtype=3)
    y = net.MatMulInteger(q, net.rng.integers(-64, 63, (8, 3), np.int8))
    return net.done(net.Add(net.Cast(y, to=1), net.ReduceSum(net.DequantizeLinear(q, np.float32(0.05)), keepdims=1)))


def multiplied(net: Net, x: SSAValue, zero: SSAValue | None = None) -> SSAValue:
    found: SSAValue = net.MatMulInteger(x, net.rng.integers(-64, 63, (8, 3), np.int8), zero)
    return found


def cast(low: float, high: float, rounded: bool = True) -> Graph:
    net = Net(x=(2, 8))
    x = net.Clip(net.inputs()[0], np.float32(low), np.float32(high))
    return net.done(multiplied(net, net.Cast(net.Round(x) if rounded else x, to=3)))


CASES: dict[str, tuple[Callable[[], Graph], str, list[Zero]]] = {
    "a chain": (chain, "uint8 uint8", [125, None]),
    "of a zero point at the end": (lambda: chain(-128), "uint8 uint8", [125, None]),
    "of another one": (lambda: chain(7), "uint8 uint8", [125, 7]),
    "of any batch": (lambda: chain(batch="n"), "uint8 uint8", [125, None]),
    "residual": (residual, "uint8 int8 uint8", [128, 128]),
    "depthwise": (depthwise, "uint8 int8 uint8", [128, None, 128]),
    "depthwise, of a zero point at the end": (lambda: depthwise_alone(-128), "uint8", [None]),
    "moved": (moved, "uint8 uint8 uint8 uint8", [128]),
    "joined": (joined, "uint8 uint8 uint8", [128, 128]),
    "rescaled": (rescaled, "uint8 uint8 int8 uint8", [128, None, None]),
    "of bytes from 1 on": (lambda: between(0.02, 1), "uint8 uint8", [128, None, None]),
    "of a negative zero point": (lambda: between(0.2, 1, -3), "uint8 uint8", [128, 125, 125]),
    "less than a zero point": (lambda: between(-0.14, 1, 7, 0.01), "uint8 uint8 uint8", [128, 7, 128]),
    "cut to a negative limit": (clipped_again, "uint8 uint8 uint8", [128, 128, 128]),
    "gemm": (gemm, "uint8", [125]),
    "looked up": (looked_up, "int8 uint8", [119]),
    "looked up too": (looked_up_too, "uint8 uint8 int8", [119, 128]),
    "looked up, not negative": (lambda: looked_up_too(relu=True), "uint8 uint8 uint8 int8", [128, 119, None]),
    "clipped": (clipped, "uint8 uint8", [128]),
    "cast": (lambda: cast(-9, 5), "uint8", [128]),
    "without zero points": (without_zero_points, "uint8", [128]),
}


def stored(graph: Graph) -> str:
    """The types of computed bytes."""
    values = [v for op in graph.ops() for v in op.results if not is_constant(v)]
    names = (element_of(v.type).dtype.name for v in values)
    return " ".join(name for name in names if name in ("int8", "uint8"))


def zeros(graph: Graph) -> list[Zero]:
    """The zero points on the left of products."""
    products = [op for op in graph.ops() if isinstance(op, (onnx.ConvInteger, onnx.MatMulInteger))]
    found = [op.node_inputs()[2] if len(op.node_inputs()) > 2 else None for op in products]
    return [None if zero is None else graph.constant(zero).item() for zero in found]


def changed(make: Callable[[], Graph]) -> tuple[Graph, Graph, PassRecord]:
    before = make()
    Pipeline.parse(QUANTIZED).run(before)
    after = before.clone()
    (record,) = Pipeline.parse("unsigned").run(after)
    return before, after, record


@pytest.mark.parametrize("name", CASES)
def test_before_and_after(name: str) -> None:
    make, types, zero_points = CASES[name]
    before, after, record = changed(make)
    assert set(stored(before).split()) == {"int8"}
    assert stored(after) == types
    assert zeros(after) == zero_points
    assert sum(record.fired.values()) == types.split().count("uint8")
    for seed in range(3):
        inputs = feeds(before, SIZES, seed)
        for expected, found in zip(run(before, inputs), run(after, inputs), strict=True):
            np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("name", CASES)
def test_compiled_no_bit_differs(name: str) -> None:
    make, *_ = CASES[name]
    passes = (f"{QUANTIZED}{unsigned},fuse,layout{{block=16}}" for unsigned in ("", ",unsigned"))
    signed, unsigned = (compile_model(make(), target="x86", passes=text).model.load(threads=1) for text in passes)
    inputs = {key: 4 * array for key, array in feeds(make(), SIZES).items()}  # some beyond the range of the bytes
    for array in inputs.values():
        array.reshape(-1)[:2] = np.inf, -np.inf
    for key, expected in signed.run(inputs).items():
        np.testing.assert_array_equal(unsigned.run(inputs)[key], expected)


def an_input() -> Graph:
    """The model's, seen through what moves bytes."""
    net = Net()
    net.graph = Graph.build([("x", tensor(np.int8, (8, 2)))])
    return net.done(multiplied(net, net.Transpose(net.inputs()[0], perm=[1, 0])))


def an_output() -> Graph:
    net = Net(x=(2, 8))
    x = net.QuantizeLinear(net.inputs()[0], np.float32(0.05), np.int8(0))
    return net.done(multiplied(net, x), x)


def read_by_a_cast() -> Graph:
    net = Net(x=(2, 8))
    x = net.QuantizeLinear(net.inputs()[0], np.float32(0.05), np.int8(0))
    return net.done(multiplied(net, x), net.Cast(x, to=6))


def looked_up_in_a_short_table() -> Graph:
    """Of which indices are checked, as the run gives them."""
    net = Net(x=(2, 8))
    x = net.QuantizeLinear(net.inputs()[0], np.float32(0.05), np.int8(0))
    return net.done(multiplied(net, x), net.Gather(net.random(200), net.Cast(x, to=6)))


def computed_zero_point() -> Graph:
    net = Net(x=(2, 8), y=())
    x, y = net.inputs()
    zero = net.QuantizeLinear(y, np.float32(1), np.int8(0))
    return net.done(multiplied(net, net.QuantizeLinear(x, np.float32(0.05), np.int8(0)), zero))


def on_the_right() -> Graph:
    net = Net(x=(8, 8))
    x = net.QuantizeLinear(net.inputs()[0], np.float32(0.05), np.int8(0))
    return net.done(net.MatMulInteger(x, x))


def in_a_body() -> Graph:
    text = """(float[2,8] x, bool c) => (int32[2,3] y, float[2,8] z) {
        q = QuantizeLinear(x, s, o)
        y = MatMulInteger(q, w)
        z = If (c) <
            then_branch = then () => (float[2,8] a) { a = DequantizeLinear(q, s, o) },
            else_branch = other () => (float[2,8] b) { b = Identity(x) }
        >
    }"""
    w = np.ones((8, 3), np.int8)
    return import_model(TextModel(text, {"s": np.float32(0.05), "o": np.int8(0), "w": w}).proto())


REFUSED: dict[str, tuple[Callable[[], Graph], str]] = {
    "an input": (an_input, "it is an input of the model"),
    "an output": (an_output, "it is an output of the model"),
    "read by a Cast": (read_by_a_cast, "it is read by Cast"),
    "looked up in a short table": (looked_up_in_a_short_table, "it is read by Cast"),
    "of numbers that are no bytes": (lambda: cast(-200, 5), "it is made by Cast"),
    "of numbers that are not whole": (lambda: cast(-9, 5, rounded=False), "it is made by Cast"),
    "of limits that are not whole": (lambda: cast(-9, 4.5), "it is made by Cast"),
    "a computed zero point": (computed_zero_point, "it is read by MatMulInteger"),
    "on the right": (on_the_right, "it is read by MatMulInteger"),
    "in a body": (in_a_body, "it is read by the body of another op"),
    "depthwise alone": (lambda: depthwise_alone(0), "no product of bytes reads it"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusals(name: str) -> None:
    make, reason = REFUSED[name]
    before, after, record = changed(make)
    assert not record.fired
    assert any(reason in str(miss) for miss in record.near_misses())
    assert str(after) == str(before)


def test_floats_are_left_alone() -> None:
    net = Net(x=(1, 8, 6, 5))
    graph = net.done(net.Relu(net.Conv(net.inputs()[0], net.random(4, 8, 1, 1))))
    (record,) = Pipeline.parse("unsigned").run(graph)
    assert not record.fired
    assert not record.near_misses()


@pytest.mark.parametrize(
    ("tag", "is_there"),
    [
        ("x86:znver4", True),
        ("x86:alderlake", True),
        ("x86:haswell", False),  # bytes become 16 bits
        ("arm:neoverse-n1", False),  # multiplies signed bytes
        ("cuda:sm_90", False),  # computes quantized models in floats
    ],
)
def test_the_preset_has_it_where_bytes_are_multiplied_as_unsigned_ones(tag: str, is_there: bool) -> None:
    assert ("unsigned" in [type(p).name for p in preset(2, target(tag)).passes]) == is_there


def test_what_is_left_is_dead() -> None:
    """Neither zero points nor casts of before are left behind."""
    _, after, _ = changed(chain)
    assert all(not isinstance(op, OnnxOp) or any(r.uses for r in op.results) for op in after.ops())


def test_which_signs_are_known() -> None:
    """Of integers that wrap they are not."""
    net = Net(x=(2, 8), y=(2, 8))
    x, y = net.inputs()
    positive = net.Relu(x)
    whole = net.Cast(net.Round(net.Clip(positive, np.float32(0), np.float32(100))), to=3)
    large = net.Cast(positive, to=6)
    known = [
        positive,
        net.Round(net.Mul(net.Add(positive, np.float32(2)), positive)),
        whole,
        net.Cast(whole, to=1),
        net.Clip(y, np.float32(0)),
        net.Clip(positive, np.float32(-1), np.float32(4)),
        net.Concat(whole, np.full((2, 3), 5, np.int8), axis=1),
        net.DequantizeLinear(whole, np.float32(0.1), np.int8(-3)),
    ]
    unknown = [
        x,
        net.Add(positive, y),
        net.Add(positive, np.float32(-2)),
        net.Sub(positive, positive),
        large,
        net.Add(large, large),
        net.Clip(positive, np.float32(-4), np.float32(-1)),
        net.Clip(y, None, np.float32(1)),
        net.Concat(whole, np.full((2, 3), -5, np.int8), axis=1),
        net.DequantizeLinear(whole, np.float32(0.1), np.int8(3)),
        net.DequantizeLinear(whole, np.float32(-0.1), np.int8(0)),
    ]
    found = not_negative(net.done(*known, *unknown))
    assert [value in found for value in known] == [True] * len(known)
    assert [value in found for value in unknown] == [False] * len(unknown)
