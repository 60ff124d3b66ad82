"""QLinearConv and QLinearMatMul, the products from bytes to bytes, as the float operators between dequantization and
quantization that they are defined by: the one form in which all that follows knows quantized models."""

from __future__ import annotations

import numpy as np
from xdsl.ir import SSAValue

from dsc.ir import element_of, onnx
from dsc.passes.canonicalize.facts import static_shape
from dsc.passes.integers.scales import BYTES
from dsc.passes.pattern import maybe, ops, value
from dsc.passes.rule import Match, Rule


class LinearConv(Rule):
    """qlinear_conv(x, sx, zx, w, sw, zw, sy, zy, b) => q(conv(dq(x), dq(w), dq(b)))"""

    pattern = ops.QLinearConv(
        value("x"), value("sx"), value("zx"), value("w"), value("sw"), value("zw"), value("sy"), value("zy"), maybe("b")
    )

    def check(self, m: Match) -> str | None:
        if m.b is not None and m.graph.constant(m.b) is None:
            return "the bias is not constant"
        if m.graph.constant(m.w) is None:
            return "the weights are not constant"
        return _refuse(m, "sx", "zx", "sy", "zy")

    def rewrite(self, m: Match) -> SSAValue:
        bias = None
        if m.b is not None:
            # Of a filter and its bias: what is summed is bytes' products, and these have the product of both scales.
            scales = _number(m, "sx") * _scales(m, "sw")
            zeros = m.constant(np.zeros(scales.shape, np.int32), "bias_zero")
            bias = m.emit(onnx.DequantizeLinear, m.b, m.constant(scales, "bias_scale"), zeros, axis=0).out
        x = _dequantized(m, m.x, "sx", "zx", 0)
        filters = _dequantized(m, m.w, "sw", "zw", 0)
        return _quantized(m, m.emit(onnx.Conv, x, filters, bias, **m.root.attrs()).out)


class LinearMatMul(Rule):
    """qlinear_matmul(x, sx, zx, w, sw, zw, sy, zy) => q(dq(x) @ dq(w))

    Of two tensors that are computed as well, as in attention. A constant stack of matrices would be folded to floats.
    """

    pattern = ops.QLinearMatMul(
        value("x"), value("sx"), value("zx"), value("w"), value("sw"), value("zw"), value("sy"), value("zy")
    )

    def check(self, m: Match) -> str | None:
        if m.graph.constant(m.w) is None:
            return _refuse(m, "sx", "zx", "sw", "zw", "sy", "zy")
        if len(static_shape(m.w) or ()) != 2:
            return "its weight is no matrix"
        return _refuse(m, "sx", "zx", "sy", "zy")

    def rewrite(self, m: Match) -> SSAValue:
        x = _dequantized(m, m.x, "sx", "zx", 0)
        return _quantized(m, m.emit(onnx.MatMul, x, _dequantized(m, m.w, "sw", "zw", -1)).out)


def _refuse(m: Match, *even: str) -> str | None:
    """even: the scales and zero points that have to be one number, for a whole tensor."""
    if any(element_of(value.type).dtype not in BYTES for value in (m.x, m.w, m.root.results[0])):
        return "what is quantized is not bytes"
    if any(m.graph.constant(value) is None for value in (m.sx, m.zx, m.sw, m.zw, m.sy, m.zy)):
        return "a scale or a zero point is not known"
    if any(m.array(name).dtype != np.float32 for name in ("sx", "sw", "sy")):
        return "the scales are not float32"
    if any(m.array(name).size != 1 for name in even):
        return "the scale of a tensor is not one number"
    return None


def _number(m: Match, name: str) -> np.float32:
    return np.float32(m.array(name).item())


def _scales(m: Match, name: str) -> np.ndarray:
    """One number, or one for each output channel."""
    found = m.array(name)
    return found.reshape(() if found.size == 1 else -1)


def _dequantized(m: Match, x: SSAValue, scale: str, zero: str, axis: int) -> SSAValue:
    scales = _scales(m, scale)
    zeros = np.broadcast_to(_scales(m, zero), np.broadcast_shapes(scales.shape, _scales(m, zero).shape))
    scales = np.broadcast_to(scales, zeros.shape)
    made: SSAValue = m.emit(
        onnx.DequantizeLinear, x, m.constant(scales, "scale"), m.constant(zeros, "zero_point"), axis=axis
    ).out
    return made


def _quantized(m: Match, product: SSAValue) -> SSAValue:
    scale, zero = m.constant(_scales(m, "sy"), "scale"), m.constant(_scales(m, "zy"), "zero_point")
    made: SSAValue = m.emit(onnx.QuantizeLinear, product, scale, zero).out
    return made


RULES: tuple[Rule, ...] = (LinearConv(), LinearMatMul())
