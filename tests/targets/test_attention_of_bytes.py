"""Attention of quantized models: one kernel from bytes to bytes, whatever is quantized on the way."""

from __future__ import annotations

import numpy as np
import pytest
from xdsl.ir import SSAValue

from dsc.ir import FusionOp, Graph
from dsc.passes.fuse import Fuse
from dsc.pipeline import compile_model
from tests.passes.net import Net, feeds, run, summary

MIDDLE = np.uint8(128)
STEP = np.float32(0.0203)
"""Of what comes out. No scale is a simple part of another: results would lie between two bytes all the time."""


def quantized(net: Net, x: SSAValue, scale: float, zero: np.generic = MIDDLE) -> SSAValue:
    """As QDQ models have it: bytes, and floats again."""
    step = np.float32(scale)
    found: SSAValue = net.DequantizeLinear(net.QuantizeLinear(x, step, zero), step, zero)
    return found


def attention(batch: int | str, length: int | str, heads: int, size: int, zero: np.generic = MIDDLE) -> Graph:
    """softmax(q @ k^T / c + mask) @ v with a quantization after each step, as ONNX Runtime's quantizer writes it."""
    width = heads * size
    flow = (batch, length, width)
    net = Net(q=flow, k=flow, v=flow, mask=(batch, 1, 1, length))
    q, k, v, mask = net.inputs()

    def split(x: SSAValue, perm: list[int]) -> SSAValue:
        apart = net.Reshape(quantized(net, x, 0.0311, zero), np.array([0, 0, heads, size]))
        return quantized(net, net.Transpose(quantized(net, apart, 0.0311, zero), perm=perm), 0.0311, zero)

    scores = quantized(net, net.MatMul(split(q, [0, 2, 1, 3]), split(k, [0, 2, 3, 1])), 0.2137)
    scores = quantized(net, net.Div(scores, np.float32(2.83)), 0.0713)
    scores = quantized(net, net.Add(scores, quantized(net, mask, 0.0391)), 0.0837)
    p = quantized(net, net.Softmax(scores, axis=-1), 1 / 255, np.uint8(0))
    context = quantized(net, net.MatMul(p, split(v, [0, 2, 1, 3])), STEP)
    joined = net.Transpose(context, perm=[0, 2, 1, 3])
    return net.done(quantized(net, net.Reshape(quantized(net, joined, STEP), np.array([0, 0, width])), STEP))


CASES = {
    "odd heads of signed bytes": ((1, 9, 2, 5, np.int8(3)), {}),
    "free sizes": (("n", "s", 2, 16), {"n": 2, "s": 21}),
}


@pytest.mark.parametrize("name", CASES)
def test_from_bytes_to_bytes(name: str) -> None:
    """Next to ONNX Runtime: sums in another order are quantized to the next step here and there, and what follows from
    one of many probabilities is less than a step."""
    arguments, sizes = CASES[name]
    graph = attention(*arguments)
    inputs = feeds(graph, sizes)
    (expected,) = run(graph, inputs)
    compilation = compile_model(graph)
    assert [choice.kernel for choice in compilation.model.choices].count("cpu.attention") == 1
    assert not any(choice.kind in ("onnx.Transpose", "softmax", "matmul") for choice in compilation.model.choices)
    (found,) = compilation.model.load(threads=1).run(inputs).values()
    assert np.abs(found - expected).max() < 1.5 * STEP
    assert (np.abs(found - expected) > STEP / 2).mean() < 0.05


def test_the_region_is_formed_for_kernels_that_take_it() -> None:
    plain, whole = attention(1, 9, 2, 8), attention(1, 9, 2, 8)
    Fuse().run(plain)
    Fuse(quantized_attention=True).run(whole)
    (region,) = [op for op in whole.ops() if isinstance(op, FusionOp) and op.kind.data == "attention"]
    assert {str(operand.type.element_type) for operand in region.operands} <= {"ui8", "f32"}
    assert str(region.results[0].type.element_type) == "ui8"
    assert not any("attention" in each for each in summary(plain))


def test_scores_that_are_read_elsewhere_are_no_part_of_it() -> None:
    net = Net(q=(2, 9, 8), k=(2, 8, 9), v=(2, 9, 8))
    q, k, v = (quantized(net, x, 0.0311) for x in net.inputs())
    scores = quantized(net, net.MatMul(q, k), 0.2137)
    p = quantized(net, net.Softmax(scores, axis=-1), 1 / 255, np.uint8(0))
    graph = net.done(quantized(net, net.MatMul(p, v), STEP), scores)
    Fuse(quantized_attention=True).run(graph)
    assert not any("attention" in each for each in summary(graph))
