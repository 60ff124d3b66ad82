"""What stands after a convolution and is linear in each channel goes into its weights."""

from __future__ import annotations

import numpy as np
from xdsl.ir import SSAValue

from dsc.ir import OnnxOp, shape_of
from dsc.passes.canonicalize.facts import all_finite, per_channel, rank, scales_safely
from dsc.passes.pattern import OpPattern, const, maybe, ops, value
from dsc.passes.rule import Match, Rule

x = value("x")


def _conv() -> OpPattern:
    return ops.any("Conv", "ConvTranspose")(x, const("w", owned=True), maybe(const("b", owned=True)), label="conv")


def _output_axis(conv: OnnxOp) -> int:
    """The axis of the weights that is the output channels."""
    return 0 if conv.onnx_name == "Conv" else 1


def _channels(conv: OnnxOp) -> int | None:
    weights = shape_of(conv.W.type)
    return None if weights is None else weights[_output_axis(conv)]


def _affine(m: Match, factor: np.ndarray, offset: np.ndarray) -> SSAValue:
    """The convolution with `y * factor + offset` (each of [channels]) worked into its weights and bias."""
    weights = m.array("w")
    along = [1] * weights.ndim
    along[_output_axis(m.conv)] = -1
    dtype = weights.dtype
    scaled = (weights * factor.reshape(along).astype(dtype)).astype(dtype, copy=False)
    bias = (m.array("b") * factor if m.b is not None else 0) + offset
    made: SSAValue = m.like(
        m.conv, m.x, m.constant(scaled, "conv_w"), m.constant(np.asarray(bias, dtype), "conv_b")
    ).out
    return made


def batch_norm_factors(m: Match) -> tuple[np.ndarray, np.ndarray]:
    """What a BatchNormalization of constant statistics multiplies by and then adds, for each channel, in float64."""
    scale, bias, mean, var = (m.array(n).astype(np.float64) for n in ("scale", "bias", "mean", "var"))
    with np.errstate(all="ignore"):
        factor = scale / np.sqrt(var + m.root.attr("epsilon"))
        return factor, bias - mean * factor


def _refuse_affine(m: Match, factor: np.ndarray, offset: np.ndarray) -> str | None:
    """Why the weights cannot hold ``y * factor + offset``: what is too large or too small for their type."""
    weights = m.array("w")
    if not scales_safely(weights, factor, _output_axis(m.conv)):
        return "the scaled weights leave the range of their type"
    with np.errstate(all="ignore"):
        bias = np.asarray((m.array("b") * factor if m.b is not None else 0) + offset, weights.dtype)
    return None if all_finite(bias) else "the bias is not finite"


def _refuse_grouped_transpose(conv: OnnxOp) -> str | None:
    if conv.onnx_name == "ConvTranspose" and conv.attr("group", 1) != 1:
        return "output channels of a grouped ConvTranspose do not lie along one axis"
    return None


class ConvBatchNorm(Rule):
    """batch_norm(conv(x, w, b)) => conv(x, w * s, (b - mean) * s + bias), s = scale / sqrt(var + eps)"""

    pattern = ops.BatchNormalization(
        _conv(), const("scale"), const("bias"), const("mean"), const("var"), training_mode=0
    )

    def check(self, m: Match) -> str | None:
        return _refuse_grouped_transpose(m.conv) or _refuse_affine(m, *batch_norm_factors(m))

    def rewrite(self, m: Match) -> SSAValue:
        return _affine(m, *batch_norm_factors(m))


class ConvMul(Rule):
    """conv(x, w, b) * c => conv(x, w * c, b * c), c for each channel"""

    pattern = _conv() * const("c")

    def check(self, m: Match) -> str | None:
        refused = _refuse_grouped_transpose(m.conv) or _refuse_constant(m)
        return refused or _refuse_affine(m, _vector(m).astype(np.float64), np.zeros(()))

    def rewrite(self, m: Match) -> SSAValue:
        factor = _vector(m)
        return _affine(m, factor.astype(np.float64), np.zeros(len(factor)))


class ConvDiv(Rule):
    """conv(x, w, b) / c => conv(x, w / c, b / c), c for each channel"""

    pattern = _conv() / const("c")

    def check(self, m: Match) -> str | None:
        if not m.array("c").all():
            return "c has a zero"
        refused = _refuse_grouped_transpose(m.conv) or _refuse_constant(m)
        return refused or _refuse_affine(m, 1 / _vector(m).astype(np.float64), np.zeros(()))

    def rewrite(self, m: Match) -> SSAValue:
        divisor = _vector(m).astype(np.float64)
        return _affine(m, 1 / divisor, np.zeros(len(divisor)))


class _ConvOffset(Rule):
    """A convolution, and a constant for each channel that is added or subtracted. The weights stay as they
    are.
    """

    sign = 1

    def check(self, m: Match) -> str | None:
        if refused := _refuse_grouped_transpose(m.conv) or _refuse_constant(m):
            return refused
        return None if all_finite(self._bias(m)) else "the bias is not finite"

    def _bias(self, m: Match) -> np.ndarray:
        offset = self.sign * _vector(m)
        with np.errstate(over="ignore", invalid="ignore"):
            return np.asarray(offset if m.b is None else m.array("b") + offset)

    def rewrite(self, m: Match) -> SSAValue:
        bias = self._bias(m)
        made: SSAValue = m.like(m.conv, m.x, m.conv.W, m.constant(np.ascontiguousarray(bias), "conv_b")).out
        return made


_CONV = ops.any("Conv", "ConvTranspose")(x, const("w"), maybe(const("b")), label="conv")


class ConvAdd(_ConvOffset):
    """conv(x, w, b) + c => conv(x, w, b + c), c for each channel"""

    pattern = _CONV + const("c")


class ConvSub(_ConvOffset):
    """conv(x, w, b) - c => conv(x, w, b - c), c for each channel"""

    pattern = _CONV - const("c")
    sign = -1


def _refuse_constant(m: Match) -> str | None:
    channels, r = _channels(m.conv), rank(m.conv.out)
    if channels is None or r is None:
        return "the number of channels is not known"
    return None if per_channel(m.array("c"), channels, r) is not None else "c is not per channel"


def _vector(m: Match) -> np.ndarray:
    channels, r = _channels(m.conv), rank(m.conv.out)
    assert channels is not None
    assert r is not None
    vector = per_channel(m.array("c"), channels, r)
    assert vector is not None
    return vector


RULES: tuple[Rule, ...] = (ConvBatchNorm(), ConvMul(), ConvDiv(), ConvAdd(), ConvSub())
