"""Layer and RMS normalization, written out, as the operators of that name.

The steps are small: what divides by a root mean square becomes RMSNormalization with a scale of ones,
centering before it makes that LayerNormalization, and a product or sum with a constant after it becomes the
scale or bias. Both compute in float32 whatever the input type (stash_type 1), which is at least as exact as
what was written, but for float64.
"""

from __future__ import annotations

import math

import numpy as np
from xdsl.ir import SSAValue

from dsc.ir import OnnxOp, dims_of, element_of, onnx
from dsc.passes.canonicalize.facts import all_finite, is_double, is_float, rank, reduced_axes
from dsc.passes.pattern import OpPattern, Pattern, const, either, maybe, ops, scalar, value
from dsc.passes.rule import Match, Rule

x = value("x")
_SQUARE = either(x**2, x * x)
_MEAN_SQUARE = ops.ReduceMean(_SQUARE, const("axes"), keepdims=1)
_VARIANCE = _MEAN_SQUARE + scalar("eps")
_DEVIATION = ops.Sqrt(_VARIANCE)


class RmsNorm(Rule):
    """x / sqrt(mean(x²) + eps) => rms_norm(x, 1)"""

    pattern = either(
        x / _DEVIATION,
        x * ops.Reciprocal(_DEVIATION),
        x * (1 / _DEVIATION),
        x * (_VARIANCE**-0.5),
    )

    def check(self, m: Match) -> str | None:
        return _refuse_type(m) or _refuse_axes(m.graph.constant(m.axes), m.x)

    def rewrite(self, m: Match) -> SSAValue:
        axes = reduced_axes(m.array("axes"), rank(m.x))
        assert axes is not None
        sizes = dims_of(m.x.type)
        assert sizes is not None
        ones = np.ones([int(d) for d in sizes[axes[0] :]], element_of(m.x.type).dtype)
        made: SSAValue = m.emit(
            onnx.RMSNormalization,
            m.x,
            m.constant(ones, "ones"),
            axis=axes[0] - len(sizes),
            epsilon=m.array("eps").item(),
        ).out
        return made


def _refuse_type(m: Match) -> str | None:
    if not is_float(m.x):
        return "it is not of floats"
    if is_double(m.x):
        return "a normalization computes in float32"
    return None if rank(m.x) == rank(m.root.out) else "a constant widens the shape"


def _refuse_axes(axes: np.ndarray | None, of: SSAValue) -> str | None:
    """Normalized axes must be the last ones, and of known size (for the scale)."""
    found, r, dims = reduced_axes(axes, rank(of)), rank(of), dims_of(of.type)
    if not found or r is None or dims is None:
        return "the axes are not known"
    if found != tuple(range(r - len(found), r)):
        return "the axes are not the last ones"
    return None if all(isinstance(dims[a], int) for a in found) else "a normalized dim is not known"


class CenteredRmsNorm(Rule):
    """rms_norm(x - mean(x), scale) => layer_norm(x, scale)"""

    pattern = ops.RMSNormalization(
        x - ops.ReduceMean(x, const("axes"), keepdims=1), value("scale"), label="norm", stash_type=1
    )

    def check(self, m: Match) -> str | None:
        r = rank(m.x)
        if r is None or reduced_axes(m.array("axes"), r) != tuple(range(m.norm.attr("axis") % r, r)):
            return "the mean is over other axes"
        return "the mean is of float64, a normalization of float32" if is_double(m.x) else None

    def rewrite(self, m: Match) -> SSAValue:
        made: SSAValue = m.emit(
            onnx.LayerNormalization, m.x, m.scale, axis=m.norm.attr("axis"), epsilon=m.norm.attr("epsilon")
        ).out
        return made


def _norm(*operands: Pattern) -> OpPattern:
    return ops.any("LayerNormalization", "RMSNormalization")(*operands, label="norm")


def _as_parameter(norm: OnnxOp, array: np.ndarray) -> np.ndarray | None:
    """A constant as a scale or bias, of exactly the normalized dims; None if it does not broadcast to them
    alone.
    """
    dims, r = dims_of(norm.X.type), rank(norm.X)
    if dims is None or r is None or array.ndim > r:
        return None
    wanted = dims[norm.attr("axis") % r :]
    leading = max(0, array.ndim - len(wanted))
    if any(isinstance(d, str) for d in wanted) or math.prod(array.shape[:leading]) != 1:
        return None
    own = array.reshape(array.shape[leading:])
    padded = (1,) * (len(wanted) - own.ndim) + own.shape
    if any(size not in (1, want) for size, want in zip(padded, wanted, strict=True)):
        return None
    return np.broadcast_to(own, tuple(int(d) for d in wanted))


class NormScale(Rule):
    """layer_norm(x, s) * c => layer_norm(x, s * c); also rms_norm"""

    pattern = _norm(x, const("s")) * const("c")

    def check(self, m: Match) -> str | None:
        scale = self._scale(m)
        if scale is None:
            return "c is not of the normalized shape"
        return None if all_finite(scale) else "the scale is not finite"

    def _scale(self, m: Match) -> np.ndarray | None:
        factor = _as_parameter(m.norm, m.array("c"))
        with np.errstate(over="ignore", invalid="ignore"):
            return None if factor is None else np.asarray(m.array("s") * factor)

    def rewrite(self, m: Match) -> SSAValue:
        scale = self._scale(m)
        assert scale is not None
        made: SSAValue = m.like(m.norm, m.x, m.constant(scale, "norm_scale")).out
        return made


class NormBias(Rule):
    """layer_norm(x, s, b) + c => layer_norm(x, s, b + c)"""

    pattern = ops.LayerNormalization(x, value("s"), maybe(const("b")), label="norm") + const("c")

    def check(self, m: Match) -> str | None:
        bias = self._bias(m)
        if bias is None:
            return "c is not of the normalized shape"
        return None if all_finite(bias) else "the bias is not finite"

    def _bias(self, m: Match) -> np.ndarray | None:
        added = _as_parameter(m.norm, m.array("c"))
        with np.errstate(over="ignore", invalid="ignore"):
            return added if added is None or m.b is None else np.asarray(m.array("b") + added)

    def rewrite(self, m: Match) -> SSAValue:
        bias = self._bias(m)
        assert bias is not None
        made: SSAValue = m.like(m.norm, m.x, m.s, m.constant(np.ascontiguousarray(bias), "norm_bias")).out
        return made


_MEAN = ops.ReduceMean(x, const("mean_axes"), keepdims=1)
_CENTERED_VARIANCE = ops.ReduceMean(
    either((x - _MEAN) ** 2, (x - _MEAN) * (x - _MEAN), (_MEAN - x) ** 2), const("axes"), keepdims=1
) + scalar("eps")
_GAIN = either(
    ops.Reciprocal(ops.Sqrt(_CENTERED_VARIANCE)), 1 / ops.Sqrt(_CENTERED_VARIANCE), _CENTERED_VARIANCE**-0.5
) * const("c")


class AffineLayerNorm(Rule):
    """x * (r * c) + (b - mean * (r * c)) => layer_norm(x, c, b), r = 1 / sqrt(variance + eps)

    The form that TensorFlow's batch_normalization function leaves.
    """

    pattern = x * _GAIN + (const("b") - _MEAN * _GAIN)

    def check(self, m: Match) -> str | None:
        r = rank(m.x)
        if reason := _refuse_type(m):
            return reason
        if reduced_axes(m.array("mean_axes"), r) != reduced_axes(m.array("axes"), r):
            return "mean and variance are over different axes"
        if reason := _refuse_axes(m.array("axes"), m.x):
            return reason
        wanted = _normalized_dims(m)
        if any(m.array(n).size != 1 and m.array(n).shape != wanted for n in ("b", "c")):
            return "c or b is not of the normalized shape"
        return None

    def rewrite(self, m: Match) -> SSAValue:
        wanted = _normalized_dims(m)
        scale, bias = (
            m.constant(
                np.broadcast_to(m.array(n).reshape(-1) if m.array(n).size == 1 else m.array(n), wanted),
                f"norm_{n}",
            )
            for n in ("c", "b")
        )
        made: SSAValue = m.emit(
            onnx.LayerNormalization, m.x, scale, bias, axis=-len(wanted), epsilon=m.array("eps").item()
        ).out
        return made


def _normalized_dims(m: Match) -> tuple[int, ...]:
    axes, dims = reduced_axes(m.array("axes"), rank(m.x)), dims_of(m.x.type)
    assert axes is not None
    assert dims is not None
    return tuple(int(dims[a]) for a in axes)


RULES: tuple[Rule, ...] = (
    AffineLayerNorm(),
    RmsNorm(),
    CenteredRmsNorm(),
    NormScale(),
    NormBias(),
)
