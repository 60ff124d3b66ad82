"""Where in the input the elements of a resized tensor lie."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tvm import tirx
from tvm.ir import Expr

from dsc.lower.approx import f32
from dsc.lower.exprs import Dim, Scalar, equal, floordiv, same, simplify
from dsc.lower.registry import Call, UnsupportedOpError
from dsc.lower.tensors import normalize_axis


@dataclass(frozen=True)
class AxisResize:
    """How one axis is resized."""

    axis: int
    source: Dim
    target: Dim
    scale: Scalar
    """Output size over input size, as given (it need not be exactly target / source)."""
    roi: tuple[float, float]
    """Normalized start and end of the region that is cropped (tf_crop_and_resize only)."""

    @property
    def identity(self) -> bool:
        """Whether nothing changes."""
        return same(self.source, self.target) and self.scale == 1 and self.roi == (0.0, 1.0)


def plans(call: Call, shape: Sequence[Dim]) -> list[AxisResize]:
    """How each axis in turn is resized."""
    rank = len(shape)
    axes = [normalize_axis(a, rank) for a in call.attr("axes") or range(rank)]
    scales, sizes = call.values(2), call.sizes(3)
    roi = [float(v) for v in call.values(1)]
    if call.attr("coordinate_transformation_mode") != "tf_crop_and_resize" or not roi:
        roi = [0.0] * len(axes) + [1.0] * len(axes)
    if sizes:
        sizes = _keeping_aspect(call, [shape[a] for a in axes], sizes)
        scales = [_ratio(size, shape[a]) for size, a in zip(sizes, axes, strict=True)]
    elif scales:
        sizes = [
            _scaled(shape[a], s, roi[k + len(axes)] - roi[k]) for k, (a, s) in enumerate(zip(axes, scales, strict=True))
        ]
    else:
        raise UnsupportedOpError("neither scales nor sizes are given")
    if call.attr("keep_aspect_ratio_policy", "stretch") != "stretch" and call.has(3):
        ratio = _policy_scale(call, [shape[a] for a in axes], call.sizes(3))
        scales = [ratio] * len(axes)
    return [
        AxisResize(a, shape[a], size, scale, (roi[k], roi[k + len(axes)]))
        for k, (a, size, scale) in enumerate(zip(axes, sizes, scales, strict=True))
    ]


def _ratio(target: Dim, source: Dim) -> Scalar:
    if isinstance(target, int) and isinstance(source, int):
        return target / source
    return tirx.Cast("float32", target) / tirx.Cast("float32", source)


def _scaled(size: Dim, scale: Scalar, part: float) -> Dim:
    """floor(size * scale), exactly where the scale is a whole number."""
    if isinstance(scale, int | float):
        factor = scale * part
        if isinstance(size, int):
            return int(size * factor)
        if float(factor).is_integer():
            return simplify(size * int(factor))
        if float(1 / factor).is_integer():
            return floordiv(size, int(1 / factor))
    exact = tirx.Cast("float32", size) * (scale if not isinstance(scale, int | float) else f32(scale * part))
    return simplify(tirx.Cast("int64", tirx.floor(exact)))


def _policy_scale(call: Call, source: Sequence[Dim], sizes: Sequence[Scalar]) -> float:
    if not all(isinstance(v, int) for v in (*source, *sizes)):
        raise UnsupportedOpError("keep_aspect_ratio_policy needs static sizes")
    ratios = [t / s for t, s in zip(sizes, source, strict=True)]
    return min(ratios) if call.attr("keep_aspect_ratio_policy") == "not_larger" else max(ratios)


def _keeping_aspect(call: Call, source: Sequence[Dim], sizes: Sequence[Scalar]) -> list[Dim]:
    if call.attr("keep_aspect_ratio_policy", "stretch") == "stretch":
        return list(sizes)
    scale = _policy_scale(call, source, sizes)
    return [int(s * scale + 0.5) for s in source]


def coordinate(call: Call, plan: AxisResize, out: Expr) -> Expr:
    """Where in the input, as a float32, output element `out` lies."""
    mode = call.attr("coordinate_transformation_mode")
    position = out.astype("float32")
    scale = f32(plan.scale) if not isinstance(plan.scale, Expr) else plan.scale.astype("float32")
    source, target = (tirx.Cast("float32", d) if isinstance(d, Expr) else f32(d) for d in (plan.source, plan.target))
    half = f32(0.5)
    if mode == "asymmetric":
        return position / scale
    if mode == "half_pixel":
        return (position + half) / scale - half
    if mode == "half_pixel_symmetric":
        exact = source * scale
        adjustment = target / exact
        offset = source * half * (f32(1) - adjustment)
        return offset + (position + half) / scale - half
    one_pixel = isinstance(plan.target, int) and plan.target == 1
    if mode == "pytorch_half_pixel":
        return f32(0) if one_pixel else _guard_one(plan, (position + half) / scale - half, f32(0))
    if mode == "align_corners":
        if one_pixel:
            return f32(0)
        return _guard_one(plan, position * (source - f32(1)) / (target - f32(1)), f32(0))
    if mode == "tf_crop_and_resize":
        start, end = (f32(v) for v in plan.roi)
        if one_pixel:
            return half * (start + end) * (source - f32(1))
        return start * (source - f32(1)) + position * (end - start) * (source - f32(1)) / (target - f32(1))
    raise UnsupportedOpError(f"coordinate_transformation_mode '{mode}' is not known")


def _guard_one(plan: AxisResize, value: Expr, otherwise: Expr) -> Expr:
    """`value`, or `otherwise` where the output turns out to be one element long at run time."""
    if isinstance(plan.target, int):
        return value
    return tirx.Select(equal(plan.target, 1), otherwise, value)
