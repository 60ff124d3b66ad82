"""What rules ask about quantized tensors: their type, their scales, their zero points."""

from __future__ import annotations

import numpy as np
from xdsl.ir import SSAValue

from dsc.ir import OnnxOp, element_of
from dsc.passes.canonicalize.facts import rank
from dsc.passes.integers.signed_weights import SignedWeights
from dsc.passes.rule import Match

BYTES = (np.dtype(np.int8), np.dtype(np.uint8))
FLOAT32 = np.dtype(np.float32)


def refuse_tensor(m: Match, op: OnnxOp) -> str | None:
    """Why what a DequantizeLinear reads is no tensor of bytes with one scale that is known, and float32 after it."""
    if element_of(op.x.type).dtype not in BYTES:
        return "what is quantized is not bytes"
    if element_of(op.results[0].type).dtype != FLOAT32:
        return "it is not dequantized to float32"
    scale = m.graph.constant(op.x_scale)
    if scale is None or scale.size != 1:
        return "the scale is not one number that is known"
    if op.x_zero_point is not None and m.graph.constant(op.x_zero_point) is None:
        return "the zero point is not known"
    return None


def refuse_again(m: Match) -> str | None:
    """Why the root, a QuantizeLinear, does not quantize as it was before what `dq` made floats of the bytes `x`."""
    if element_of(m.root.results[0].type) != element_of(m.x.type):
        return "the types differ"
    if element_of(m.x.type).dtype not in BYTES:
        return "what is quantized is not bytes"  # of 16 bits and more, the way through floats may round
    if refused := refuse_tensor(m, m.dq):
        return refused
    return None if same_encoding(m, m.dq, m.root) else "scales or zero points differ"


def refuse_weight(m: Match, op: OnnxOp, axis: int) -> str | None:
    """Why what a DequantizeLinear reads is no constant of bytes with one scale, or one for each step along `axis`."""
    if m.graph.constant(op.x) is None:
        return "the weights are not constant"
    if element_of(op.x.type).dtype not in BYTES:
        return "the weights are not bytes"
    if element_of(op.results[0].type).dtype != FLOAT32:
        return "they are not dequantized to float32"
    scale = m.graph.constant(op.x_scale)
    if scale is None:
        return "the scales are not known"
    if scale.size != 1 and (scale.ndim != 1 or op.attr("axis", 1) % (rank(op.x) or 1) != axis):
        return "the scales are not those of the output channels"
    if op.x_zero_point is not None and m.graph.constant(op.x_zero_point) is None:
        return "the zero points are not known"
    return None


def signed_weights(m: Match, op: OnnxOp, axis: int) -> SignedWeights:
    """The weights that a DequantizeLinear reads, which `refuse_weight` has not refused."""
    weights = m.graph.constant(op.x)
    assert weights is not None
    return SignedWeights.of(weights, _constant(m, op.x_zero_point), axis)


def zero_point(m: Match, op: OnnxOp) -> SSAValue | None:
    """The zero point of a tensor with one scale; None where it is 0."""
    zero = _constant(m, op.x_zero_point)
    return None if zero is None or not zero.any() else m.constant(zero.reshape(()), "zero_point")


def multiplied(m: Match, first: OnnxOp, second: OnnxOp, channels: int) -> np.ndarray:
    """The product of the scales of two dequantizations, in float32, for each channel.

    A vector is an operand of its region, where one number would be part of its code, which layers then did not share.
    """
    scales = [m.graph.constant(op.x_scale) for op in (first, second)]
    left, right = (np.asarray(scale, np.float64).reshape(-1) for scale in scales)
    return np.array(np.broadcast_to(left * right, (channels,)), np.float32)


def _constant(m: Match, value: SSAValue | None) -> np.ndarray | None:
    return None if value is None else m.graph.constant(value)


def same_encoding(m: Match, first: OnnxOp, second: OnnxOp) -> bool:
    """Whether two ops quantize or dequantize by one scale, which is one number, and one zero point."""
    scales, zeros = zip(*((*op.node_inputs()[1:], None)[:2] for op in (first, second)), strict=True)
    return _same(m, *scales) and _same(m, *zeros)


def _same(m: Match, a: SSAValue | None, b: SSAValue | None) -> bool:
    """Whether two scales or zero points are one number; an absent one is 0."""
    first, second = (np.zeros(1) if v is None else m.graph.constant(v) for v in (a, b))
    if first is None or second is None or first.size != 1 or second.size != 1:
        return False
    return bool(first.reshape(()) == second.reshape(()))
