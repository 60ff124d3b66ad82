"""Where in the input the elements of a resized tensor lie."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from tvm import tirx
from tvm.ir import Expr

from dsc.lower.exprs import Dim, Scalar, equal, floordiv, maximum, same, simplify
from dsc.lower.floats import f32
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
    ratio: Fraction | None
    """The scale exactly, where it is a quotient of small numbers, as that of static sizes is."""
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
    ratios: list[Fraction | None]
    source = [shape[a] for a in axes]
    if sizes:
        ratios = _ratios(call, source, sizes)
        sizes = _keeping_aspect(call, source, sizes, ratios)
        scales = [
            _ratio(size, length) if r is None else float(r)
            for r, size, length in zip(ratios, sizes, source, strict=True)
        ]
    elif scales:
        sizes = [_scaled(length, s) for length, s in zip(source, scales, strict=True)]
        ratios = [_small(s) for s in scales]
    else:
        raise UnsupportedOpError("neither scales nor sizes are given")
    return [
        AxisResize(a, shape[a], size, scale, ratio, (roi[k], roi[k + len(axes)]))
        for k, (a, size, scale, ratio) in enumerate(zip(axes, sizes, scales, ratios, strict=True))
    ]


def _ratio(target: Dim, source: Dim) -> Scalar:
    if isinstance(target, int) and isinstance(source, int):
        return target / source
    return tirx.Cast("float32", target) / tirx.Cast("float32", source)


def _scaled(size: Dim, scale: Scalar) -> Dim:
    """floor(size * scale) in float32, as ONNX infers it: 10 * 0.7 is 7."""
    if isinstance(scale, int | float):
        if isinstance(size, int):
            return int(np.floor(np.float32(size) * np.float32(scale)))
        if float(scale).is_integer():
            return simplify(size * int(scale))
        if float(1 / scale).is_integer():
            return floordiv(size, int(1 / scale))
    exact = tirx.Cast("float32", size) * (f32(scale) if isinstance(scale, int | float) else scale)
    return simplify(tirx.Cast("int64", tirx.floor(exact)))


_SMALL = 64
"""Larger denominators of scales are those of numbers like 0.3: products with them overflow."""


def _small(scale: Scalar) -> Fraction | None:
    exact = Fraction(scale) if isinstance(scale, int | float) else None
    return exact if exact is not None and exact > 0 and exact.denominator <= _SMALL else None


def _ratios(call: Call, source: Sequence[Dim], sizes: Sequence[Scalar]) -> list[Fraction | None]:
    """The scale of each axis for given sizes, one for all where the aspect is kept."""
    static = all(isinstance(v, int) for v in (*source, *sizes))
    policy = call.attr("keep_aspect_ratio_policy", "stretch")
    if policy != "stretch":
        if not static:
            raise UnsupportedOpError("keep_aspect_ratio_policy needs static sizes")
        choose = min if policy == "not_larger" else max
        return [choose(Fraction(int(t), int(s)) for t, s in zip(sizes, source, strict=True))] * len(sizes)
    return [
        Fraction(t, s) if isinstance(t, int) and isinstance(s, int) and s else None
        for t, s in zip(sizes, source, strict=True)
    ]


def _keeping_aspect(
    call: Call, source: Sequence[Dim], sizes: Sequence[Scalar], ratios: Sequence[Fraction | None]
) -> list[Dim]:
    if call.attr("keep_aspect_ratio_policy", "stretch") == "stretch":
        return list(sizes)
    return [int(s * float(r) + 0.5) for s, r in zip(source, ratios, strict=True) if r is not None]


def nearest(call: Call, plan: AxisResize, out: Expr, rounding: str) -> Dim | None:
    """The input element of output element `out` in integers, exact at ties; None where the scale is not exact.

    The place is a fraction n / d, and floor(n / d + 1/2) is (2 n + d) // 2 d, for example. It is not cut to the input,
    but not negative.
    """
    place = _place(call.attr("coordinate_transformation_mode"), plan, out)
    if place is None:
        return None
    n, d = place
    if rounding == "floor":
        return floordiv(maximum(n, 0), d)
    if rounding == "ceil":
        return floordiv(n + (d - 1), d)
    return floordiv(n * 2 + (d - 1 if rounding == "round_prefer_floor" else d), 2 * d)


def _place(mode: str, plan: AxisResize, out: Expr) -> tuple[Dim, int] | None:
    """Where `out` lies in the input, as a fraction."""
    if plan.ratio is None or not isinstance(plan.source, int) or not isinstance(plan.target, int):
        return None
    up, down, source = plan.ratio.numerator, plan.ratio.denominator, plan.source
    if 4 * plan.target * down * source >= 2**31:
        out = out.astype("int64")
    if mode == "asymmetric":
        return out * down, up
    if mode in ("half_pixel", "pytorch_half_pixel") or (
        mode == "half_pixel_symmetric" and source * up == plan.target * down
    ):
        return (out * 2 + 1) * down - up, 2 * up
    if mode == "align_corners" and source * up > down:
        return out * ((source - 1) * down), source * up - down
    return None


def coordinate(call: Call, plan: AxisResize, out: Expr) -> Expr:
    """Where in the input, as a float32, output element `out` lies."""
    mode = call.attr("coordinate_transformation_mode")
    position = out.astype("float32")
    scale = f32(plan.scale) if not isinstance(plan.scale, Expr) else plan.scale.astype("float32")
    source, target = (tirx.Cast("float32", d) if isinstance(d, Expr) else f32(d) for d in (plan.source, plan.target))
    length = source * scale  # need not be whole, unlike the output's
    half = f32(0.5)
    if mode == "asymmetric":
        return position / scale
    if mode == "half_pixel":
        return (position + half) / scale - half
    if mode == "half_pixel_symmetric":
        adjustment = target / length
        offset = source * half * (f32(1) - adjustment)
        return offset + (position + half) / scale - half
    one_pixel = isinstance(plan.target, int) and plan.target == 1
    if mode == "pytorch_half_pixel":
        return f32(0) if one_pixel else _guard_one(plan, (position + half) / scale - half, f32(0))
    if mode == "align_corners":
        if one_pixel:
            return f32(0)
        return _guard_one(plan, position * (source - f32(1)) / (length - f32(1)), f32(0))
    if mode == "tf_crop_and_resize":
        start, end = (f32(v) for v in plan.roi)
        first, middle = start * (source - f32(1)), half * (start + end) * (source - f32(1))
        if one_pixel:
            return middle if plan.ratio is not None and plan.ratio * plan.source == 1 else first
        return first + position * (end - start) * (source - f32(1)) / (length - f32(1))
    raise UnsupportedOpError(f"coordinate_transformation_mode '{mode}' is not known")


def _guard_one(plan: AxisResize, value: Expr, otherwise: Expr) -> Expr:
    """`value`, or `otherwise` where the output turns out to be one element long at run time."""
    if isinstance(plan.target, int):
        return value
    return tirx.Select(equal(plan.target, 1), otherwise, value)
