"""Functions of one byte as tables: which become one, which do not, and that each byte gives what it gave."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from xdsl.ir import SSAValue

from dsc.ir import Graph
from dsc.passes import Pipeline
from dsc.pipeline import compile_model
from tests.passes.net import Net, run, summary

RULE = "q(f(x)) => table[x], x of bytes, f elementwise and more than arithmetic"
ZERO = np.uint8(117)


def quantized(net: Net, x: SSAValue, scale: float = 0.043, zero: np.generic = ZERO) -> SSAValue:
    step = np.float32(scale)
    found: SSAValue = net.DequantizeLinear(net.QuantizeLinear(x, step, zero), step, zero)
    return found


def gelu(zero: np.generic = ZERO, shape: tuple[int | str, ...] = (3, 100)) -> Graph:
    """With a quantization after each step, and x read twice."""
    net = Net(x=shape)
    x = quantized(net, net.inputs()[0], zero=zero)
    y = quantized(net, net.Erf(quantized(net, net.Div(x, np.float32(1.41)), 0.031, zero)), 0.0083)
    y = quantized(net, net.Add(y, np.float32(1)), 0.0079, np.uint8(1))
    return net.done(quantized(net, net.Mul(quantized(net, net.Mul(x, y), 0.05), np.float32(0.5)), 0.027))


def swish_of_images() -> Graph:
    """Between convolutions, whose images are packed."""
    net = Net(x=(1, 8, 5, 7))

    def convolved(x: SSAValue, channels: int) -> SSAValue:
        w = net.rng.integers(-64, 63, (16, channels, 1, 1), np.int8)
        found: SSAValue = net.Conv(x, net.DequantizeLinear(w, np.float32(0.011)))
        return found

    x = quantized(net, convolved(quantized(net, net.inputs()[0]), 8), 0.061)
    y = quantized(net, net.Mul(x, quantized(net, net.Sigmoid(x), 0.0041, np.uint8(0))))
    return net.done(convolved(y, 16))


CASES: dict[str, tuple[Callable[[], Graph], list[str]]] = {
    "gelu": (gelu, ["QuantizeLinear", "elementwise(Cast Gather)", "DequantizeLinear"]),
    "of signed bytes": (
        lambda: gelu(np.int8(-9)),
        ["QuantizeLinear", "elementwise(Cast Gather)", "DequantizeLinear"],
    ),
    "of images": (
        swish_of_images,
        ["elementwise(unpack Cast Gather pack)", "conv(unpack ConvInteger Cast Mul pack)", "unpack"],
    ),
}


def every_byte(graph: Graph) -> dict[str, np.ndarray]:
    """Numbers that are quantized to all bytes."""
    shape = graph.inputs[0].type.get_shape()
    return {"x": np.linspace(-7, 7, int(np.prod(shape)), dtype=np.float32).reshape(shape)}


@pytest.mark.parametrize("name", CASES)
def test_each_byte_gives_what_it_gave(name: str) -> None:
    make, expected = CASES[name]
    graph = make()
    compilation = compile_model(graph, target="x86")
    assert summary(compilation.graph)[-len(expected) :] == expected
    (found,) = compilation.model.load(threads=1).run(every_byte(graph)).values()
    (wanted,) = run(graph, every_byte(graph))
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)  # a product's scale is rounded, no byte differs


def of_two() -> Graph:
    net = Net(x=(3, 8), y=(3, 8))
    x, y = (quantized(net, v) for v in net.inputs())
    return net.done(quantized(net, net.Mul(x, net.Sigmoid(y))))


def of_channels() -> Graph:
    net = Net(x=(3, 8))
    return net.done(quantized(net, net.Sigmoid(net.Mul(quantized(net, net.inputs()[0]), net.random(8)))))


def arithmetic() -> Graph:
    net = Net(x=(3, 8))
    return net.done(quantized(net, net.HardSwish(quantized(net, net.inputs()[0]))))


def sixteen_bits() -> Graph:
    net = Net(x=(3, 8))
    return net.done(quantized(net, net.Sigmoid(quantized(net, net.inputs()[0])), 1e-4, np.uint16(0)))


REFUSED: dict[str, tuple[Callable[[], Graph], str]] = {
    "of two tensors": (of_two, "it is not of one tensor of bytes, in steps that are elementwise"),
    "another one for each channel": (of_channels, "it is not of one tensor of bytes, in steps that are elementwise"),
    "arithmetic": (arithmetic, "it is arithmetic alone"),
    "16 bits": (sixteen_bits, "it is not quantized to bytes by one scale"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusals(name: str) -> None:
    make, reason = REFUSED[name]
    graph = make()
    (record,) = Pipeline.parse("requantize").run(graph)
    assert not record.fired[RULE]
    assert any(reason in str(miss) for miss in record.near_misses())


def test_a_table_for_all_bytes_needs_no_check_of_indices() -> None:
    """A shorter one does: the run says which index was outside of it."""
    index = np.array([[0, 1, 254]], np.uint8)

    def looked_up(entries: int) -> Graph:
        net = Net(x=(1, 3))
        byte = net.QuantizeLinear(net.inputs()[0], np.float32(1), np.uint8(0))
        return net.done(net.Gather(net.random(entries), net.Cast(byte, to=6)))

    whole, short = (compile_model(looked_up(n), target="x86").model.load(threads=1) for n in (256, 200))
    whole.run({"x": index.astype(np.float32)})
    with pytest.raises(Exception, match="index 254 is outside of dim 0 of data, which has 200 elements"):
        short.run({"x": index.astype(np.float32)})
