"""Quantizing what was just scaled: the scales become one, and nothing is divided.

A product of integers is scaled to floats, gets its bias, and is quantized again, by a division in each element. The
divisor goes into the constants of what comes before, as far back as that is linear.
"""

from __future__ import annotations

import numpy as np
from xdsl.ir import SSAValue

from dsc.ir import OnnxOp, element_of, onnx
from dsc.passes.canonicalize.facts import rank
from dsc.passes.fuse.roles import quantizes_evenly
from dsc.passes.integers.clamps import quantized_limits
from dsc.passes.integers.scales import BYTES, FLOAT32
from dsc.passes.pattern import ops, value
from dsc.passes.rule import Match, Rule


class OneScale(Rule):
    """q(a * c + b; s, z) => byte(round(clip(a * (c / s) + b / s + z))), also of sums, relu and clip of such"""

    pattern = ops.QuantizeLinear(value("x"), ...)

    def check(self, m: Match) -> str | None:
        if not quantizes_evenly(m.root) or element_of(m.root.results[0].type).dtype not in BYTES:
            return "it is not quantized to bytes by one scale"
        if element_of(m.x.type).dtype != FLOAT32:
            return "what is quantized is not float32"
        scale = m.graph.constant(m.root.y_scale)
        if scale is None or not (np.isfinite(scale) & (scale > 0)).all():
            return "the scale is not a positive number that is known"
        if m.root.y_zero_point is not None and m.graph.constant(m.root.y_zero_point) is None:
            return "the zero point is not known"
        if m.graph.constant(m.x) is not None:
            return "what is quantized is constant"
        factor = 1 / float(scale.reshape(()))
        return None if _is_linear(m, m.x, factor) else "what is quantized has no constant to take the scale"

    def rewrite(self, m: Match) -> SSAValue:
        zero = 0 if m.root.y_zero_point is None else int(_array(m, m.root.y_zero_point).reshape(()))
        factor = 1 / float(_array(m, m.root.y_scale).reshape(()))
        ends = np.iinfo(element_of(m.root.results[0].type).dtype.name)
        low, high, source = float(ends.min), float(ends.max), m.x
        if isinstance(source.owner, (onnx.Relu, onnx.Clip)):
            low, high = quantized_limits(m.graph, source.owner, m.root)
            source = source.owner.operands[0]
        limits = (m.constant(np.array(end, np.float32)) for end in (low, high))
        clipped = m.emit(onnx.Clip, _scaled(m, source, factor, zero), *limits).out
        rounded = m.emit(onnx.Round, clipped).out
        made: SSAValue = m.emit(onnx.Cast, rounded, to=element_of(m.root.results[0].type).code).out
        return made


def _is_linear(m: Match, found: SSAValue, factor: float) -> bool:
    """Whether `factor` can go into the constants that a value is made of, which nothing else reads."""
    if m.graph.constant(found) is not None:
        return _takes(m, found, factor)
    op = found.owner
    if isinstance(op, onnx.DequantizeLinear):  # another one of the same bytes costs nothing
        return quantizes_evenly(op) and _takes(m, op.x_scale, factor)
    if not isinstance(op, OnnxOp) or len(list(found.uses)) > 1:
        return False
    match op:
        case onnx.Mul():
            return any(_takes(m, operand, factor) for operand in op.operands)
        case onnx.Div():
            divisor = _divisor(m, op)
            return divisor is not None and _is_linear(m, op.A, factor / divisor)
        case onnx.Add() | onnx.Sub():
            return all(_is_linear(m, operand, factor) for operand in op.operands)
        case onnx.Relu():
            return _is_linear(m, op.X, factor)
        case onnx.Clip():
            limits = list(op.operands)[1:]
            return all(_takes(m, limit, factor) for limit in limits) and _is_linear(m, op.operands[0], factor)
        case _:
            return False


def _scaled(m: Match, found: SSAValue, factor: float, offset: int = 0) -> SSAValue:
    """The value times `factor`, plus `offset`, where `_is_linear` holds; the factor is positive."""
    if m.graph.constant(found) is not None:
        return _constant(m, found, factor, offset)
    op = found.owner
    assert isinstance(op, OnnxOp)
    operands: list[SSAValue | None]
    shape: tuple[int, ...] = ()  # of the offset: that of scales, so that it is an operand as they are
    match op:
        case onnx.Mul():
            first = next(operand for operand in op.operands if _takes(m, operand, factor))
            operands = [_constant(m, v, factor) if v is first else v for v in op.operands]
            shape = _array(m, first).shape
        case onnx.Div():
            divisor = _divisor(m, op)
            assert divisor is not None  # it was checked
            return _scaled(m, op.A, factor / divisor, offset)
        case onnx.DequantizeLinear():
            operands = [op.x, _constant(m, op.x_scale, factor), op.x_zero_point]
        case onnx.Clip():
            limits = (None if v is None else _constant(m, v, factor) for v in op.node_inputs()[1:])
            operands = [_scaled(m, op.operands[0], factor), *limits]
        case onnx.Add() if any(_takes(m, operand, factor) for operand in op.operands):
            first = next(operand for operand in op.operands if _takes(m, operand, factor))
            operands = [_scaled(m, v, factor, offset if v is first else 0) for v in op.operands]
            offset = 0
        case _:
            operands = [_scaled(m, operand, factor) for operand in op.operands]
    made: SSAValue = m.like(op, *operands).out
    if offset:
        made = m.emit(onnx.Add, made, m.constant(np.full(shape, offset, np.float32), "zero_point")).out
    return made


def _divisor(m: Match, op: OnnxOp) -> float | None:
    """What all elements are divided by; None where that is not one positive number that is known."""
    array = m.graph.constant(op.operands[1])
    if array is None or array.size != 1 or array.dtype != FLOAT32 or array.ndim > (rank(op.operands[0]) or 0):
        return None
    divisor = float(array.reshape(()))
    return divisor if np.isfinite(divisor) and divisor > 0 else None


def _array(m: Match, found: SSAValue) -> np.ndarray:
    array = m.graph.constant(found)
    assert array is not None  # it was checked
    return array


def _constant(m: Match, found: SSAValue, factor: float, offset: int = 0) -> SSAValue:
    array = _array(m, found)
    return m.constant((array.astype(np.float64) * factor + offset).astype(np.float32), "scaled")


def _takes(m: Match, found: SSAValue, factor: float) -> bool:
    """Whether a value is a constant of float32 whose numbers times `factor` keep their digits."""
    array = m.graph.constant(found)
    if array is None or array.dtype != FLOAT32:
        return False
    numbers = np.abs(array.astype(np.float64) * factor)
    limits = np.finfo(np.float32)
    return bool(((numbers == 0) | ((numbers >= limits.tiny) & (numbers <= limits.max))).all())


RULES: tuple[Rule, ...] = (OneScale(),)
