"""Normalizations."""

from __future__ import annotations

from collections.abc import Sequence

from tvm import te, tirx
from tvm.ir import Expr

from dsc.ir import onnx
from dsc.lower import composed
from dsc.lower.exprs import Dim, dims, quotient
from dsc.lower.ops.reduce import reduce
from dsc.lower.ops.shape import reshape
from dsc.lower.registry import Call, lowers
from dsc.lower.tensors import broadcast_index, cast, const_like, divisor, dtype_of, elementwise, normalize_axis


def _kept(indices: Sequence[Expr], axes: Sequence[int]) -> list[Dim]:
    return [0 if a in axes else i for a, i in enumerate(indices)]


def _mean(x: te.Tensor, axes: Sequence[int], name: str) -> te.Tensor:
    """The mean over `axes`, which stay with size 1."""
    total = reduce(te.sum, x, x.shape, axes, True, f"{name}_sum")
    count = divisor((x.shape[a] for a in axes), dtype_of(x))
    return elementwise(lambda v: v / count, total, name=name)


def _variance(x: te.Tensor, mean: te.Tensor, axes: Sequence[int]) -> te.Tensor:
    """The mean square distance from `mean` over `axes`."""

    def square(*i: Expr) -> Expr:
        distance = x(*i) - mean(*_kept(i, axes))
        return distance * distance

    total = reduce(te.sum, square, x.shape, axes, True, "variance_sum")
    count = divisor((x.shape[a] for a in axes), dtype_of(x))
    return elementwise(lambda v: v / count, total, name="variance")


def _inverse_deviation(variance: te.Tensor, epsilon: float) -> te.Tensor:
    return elementwise(
        lambda v: const_like(1, v) / tirx.sqrt(v + const_like(epsilon, v)), variance, name="inverse_deviation"
    )


def _normalized(x: te.Tensor, mean: te.Tensor, inverse: te.Tensor, axes: Sequence[int]) -> te.Tensor:
    def element(*i: Expr) -> Expr:
        at = _kept(i, axes)
        return (x(*i) - mean(*at)) * inverse(*at)

    return te.compute(x.shape, element, name="normalized")


@lowers(onnx.LayerNormalization)
def layer_norm(call: Call) -> list[te.Tensor]:
    """(x - mean) * inverse deviation * scale + bias over the axes from `axis` on; also the first two."""
    x, scale, bias = call.inputs
    axes = list(range(normalize_axis(call.attr("axis"), len(x.shape)), len(x.shape)))
    mean = _mean(x, axes, "mean")
    inverse = _inverse_deviation(_variance(x, mean, axes), call.attr("epsilon"))
    normalized = _normalized(x, mean, inverse, axes)
    shape = dims(x.shape)

    def element(*i: Expr) -> Expr:
        value = normalized(*i) * scale(*broadcast_index(scale.shape, shape, i))
        return value if bias is None else value + bias(*broadcast_index(bias.shape, shape, i))

    return [te.compute(shape, element, name="layer_norm"), mean, inverse]


@lowers(onnx.RMSNormalization)
def rms_norm(call: Call) -> te.Tensor:
    """X / sqrt(mean of squares + epsilon) * scale over the axes from `axis` on."""
    x, scale = call.inputs
    axes = list(range(normalize_axis(call.attr("axis"), len(x.shape)), len(x.shape)))
    total = reduce(te.sum, lambda *i: x(*i) * x(*i), x.shape, axes, True, "square_sum")
    count = divisor((x.shape[a] for a in axes), dtype_of(x))
    inverse = _inverse_deviation(elementwise(lambda v: v / count, total, name="square_mean"), call.attr("epsilon"))
    normalized = te.compute(x.shape, lambda *i: x(*i) * inverse(*_kept(i, axes)), name="normalized")
    result = elementwise(lambda v, s: v.astype(call.dtype()) * s, normalized, scale, name="rms_norm")
    return cast(result, call.dtype())


@lowers(onnx.BatchNormalization)
def batch_norm(call: Call) -> list[te.Tensor]:
    """(x - mean) / sqrt(variance + epsilon) * scale + bias, with given or measured statistics."""
    x, scale, bias, mean, variance = call.inputs
    epsilon = call.attr("epsilon")
    outputs: list[te.Tensor] = []
    if call.attr("training_mode"):
        axes = [a for a in range(len(x.shape)) if a != 1]
        measured = _mean(x, axes, "mean")
        spread = _variance(x, measured, axes)
        channels = x.shape[1]
        measured, spread = reshape(measured, [channels]), reshape(spread, [channels])
        momentum = call.attr("momentum")
        outputs = [_moving(mean, measured, momentum), _moving(variance, spread, momentum)]
        mean, variance = measured, spread
    dtype = dtype_of(x)
    factor = elementwise(
        lambda s, v: s.astype(dtype) / tirx.sqrt(v.astype(dtype) + tirx.const(epsilon, dtype)),
        scale,
        variance,
        name="factor",
    )

    def element(*i: Expr) -> Expr:
        c = i[1] if len(i) > 1 else 0
        return (x(*i).astype(dtype) - mean(c).astype(dtype)) * factor(c) + bias(c).astype(dtype)

    return [cast(te.compute(x.shape, element, name="batch_norm"), call.dtype()), *outputs]


def _moving(old: te.Tensor, new: te.Tensor, momentum: float) -> te.Tensor:
    return elementwise(
        lambda a, b: a * const_like(momentum, a) + b * const_like(1 - momentum, b), old, new, name="moving"
    )


@lowers(onnx.InstanceNormalization)
def instance_norm(call: Call) -> te.Tensor:
    """Normalized over space, for each sample and channel."""
    x, scale, bias = call.inputs
    axes = list(range(2, len(x.shape)))
    mean = _mean(x, axes, "mean")
    inverse = _inverse_deviation(_variance(x, mean, axes), call.attr("epsilon"))
    return _channelwise(_normalized(x, mean, inverse, axes), scale, bias)


def _channelwise(x: te.Tensor, scale: te.Tensor, bias: te.Tensor) -> te.Tensor:
    return te.compute(x.shape, lambda *i: x(*i) * scale(i[1]) + bias(i[1]), name="scaled")


@lowers(onnx.GroupNormalization)
def group_norm(call: Call) -> te.Tensor:
    """Normalized over the channels of a group and space; scale and bias are of the channels."""
    x, scale, bias = call.inputs
    groups = call.attr("num_groups")
    n, c, *space = dims(x.shape)
    split = reshape(x, [n, groups, quotient([c], [groups]), *space], "groups")
    axes = list(range(2, len(split.shape)))
    mean = _mean(split, axes, "mean")
    inverse = _inverse_deviation(_variance(split, mean, axes), call.attr("epsilon"))
    normalized = reshape(_normalized(split, mean, inverse, axes), x.shape, "merged")
    return _channelwise(normalized, scale, bias)


@lowers(onnx.MeanVarianceNormalization)
def mean_variance_norm(call: Call) -> te.Tensor:
    """(x - mean) / (deviation + 1e-9) over `axes`."""
    x = call.inputs[0]
    axes = [normalize_axis(a, len(x.shape)) for a in call.attr("axes", [0, 2, 3])]
    mean = _mean(x, axes, "mean")
    inverse = elementwise(
        lambda v: const_like(1, v) / (tirx.sqrt(v) + const_like(1e-9, v)),
        _variance(x, mean, axes),
        name="inverse",
    )
    return _normalized(x, mean, inverse, axes)


@lowers(onnx.LpNormalization)
def lp_norm(call: Call) -> te.Tensor:
    """X over the sum of |x|, or over the root of that of x^2, along an axis; 0 where that is 0."""
    x, p = call.inputs[0], call.attr("p")
    axes = [normalize_axis(call.attr("axis"), len(x.shape))]

    def term(*i: Expr) -> Expr:
        return tirx.abs(x(*i)) if p == 1 else x(*i) * x(*i)

    total = reduce(te.sum, term, x.shape, axes, True, "norm_sum")
    norm = total if p == 1 else elementwise(tirx.sqrt, total, name="norm")

    def element(v: Expr, n: Expr) -> Expr:
        zero = const_like(0, v)
        return tirx.Select(tirx.EQ(n, zero), zero, v / n)

    return elementwise(element, x, norm, name="lp_norm", bind=True)


@lowers(onnx.LRN)
def lrn(call: Call) -> te.Tensor:
    """X / (bias + alpha / size * sum of squares over neighbouring channels) ^ beta."""
    x, size = call.inputs[0], call.attr("size")
    channels = x.shape[1]
    near = te.reduce_axis((0, size), "near")

    def square(*i: Expr) -> Expr:
        c = i[1] + near - (size - 1) // 2
        value = tirx.if_then_else(tirx.all(c >= 0, c < channels), x(i[0], c, *i[2:]), const_like(0, x))
        return te.sum(value * value, axis=near)

    total = te.compute(x.shape, square, name="square_sum")

    def element(v: Expr, s: Expr) -> Expr:
        base = const_like(call.attr("bias"), s) + s * const_like(call.attr("alpha") / size, s)
        return v * composed.power(base, -call.attr("beta"))

    return elementwise(element, x, total, name="lrn")
