"""Resize: one axis after another, each output element a weighted sum of a few input elements."""

from __future__ import annotations

import numpy as np
from tvm import te, tirx
from tvm.ir import Expr

from dsc.ir import onnx
from dsc.lower.exprs import Dim, clamp, dims, floordiv, same, simplify
from dsc.lower.floats import f32
from dsc.lower.registry import Call, UnsupportedOpError, lowers
from dsc.lower.resampling import AxisResize, coordinate, nearest, plans
from dsc.lower.tensors import cast, dtype_of, is_float


@lowers(onnx.Resize, values=[1, 2, 3])
def resize(call: Call) -> te.Tensor:
    """Resamples the axes by scales or to sizes; all modes and coordinate transformations of ONNX."""
    x = call.inputs[0]
    result = x if call.attr("mode") == "nearest" else cast(x, _working_type(x))
    for plan in plans(call, dims(x.shape)):
        if plan.identity:
            continue
        if call.attr("mode") == "nearest":
            result = _nearest(call, result, plan)
        else:
            result = _interpolated(call, result, plan)
    if result is x:
        result = te.compute(x.shape, lambda *i: x(*i), name="resize")
    return _stored(result, call.dtype())


def _working_type(x: te.Tensor) -> str:
    return "float64" if dtype_of(x) == "float64" else "float32"


def _stored(x: te.Tensor, dtype: str) -> te.Tensor:
    """`x` in the type of the result; integers saturate and truncate."""
    if dtype_of(x) == dtype or "float" in dtype or not is_float(x):
        return cast(x, dtype)
    kind = dtype_of(x)
    low, high = tirx.const(float(te.min_value(dtype).value), kind), largest_whole(dtype, kind)
    return te.compute(x.shape, lambda *i: tirx.Max(low, tirx.Min(high, x(*i))).astype(dtype), name="stored")


def largest_whole(dtype: str, kind: str) -> Expr:
    """The largest number of float type `kind` that an integer of type `dtype` holds: that of int32 in float32 is below
    2^31 - 1, which is none.
    """
    digits = np.finfo(kind).nmant + 1
    bits = int(dtype.lstrip("uint")) - (not dtype.startswith("u"))
    return tirx.const(float((1 << bits) - (1 << max(bits - digits, 0))), kind)


def _nearest(call: Call, x: te.Tensor, plan: AxisResize) -> te.Tensor:
    """Each output element is one input element."""
    axis = plan.axis
    factor = plan.scale if isinstance(plan.scale, float) and plan.scale.is_integer() else None
    if isinstance(plan.scale, Expr):
        ratio = simplify(floordiv(plan.target, plan.source)) if not isinstance(plan.source, int) else None
        factor = ratio if isinstance(ratio, int) and same(plan.source * ratio, plan.target) else None
    transform, rounding = call.attr("coordinate_transformation_mode"), call.attr("nearest_mode")
    whole = factor is not None and (
        (transform == "asymmetric" and rounding == "floor")
        or (transform in ("half_pixel", "half_pixel_symmetric") and rounding.startswith("round"))
    )

    def index(i: Expr) -> Dim:
        if whole and factor is not None:
            return floordiv(i, int(factor))
        exact = nearest(call, plan, i, rounding)
        found = _rounded(coordinate(call, plan, i), rounding).astype("int32") if exact is None else exact
        return clamp(found, 0, plan.source - 1)

    def element(*i: Expr) -> Expr:
        load = x(*i[:axis], index(i[axis]), *i[axis + 1 :])
        return _extrapolated(call, plan, i[axis], load)

    return te.compute(_shape(x, plan), element, name="resize_nearest")


def _rounded(position: Expr, mode: str) -> Expr:
    """The coordinate as a whole number. Ratios that are whole but for rounding errors must not fall below."""
    half = f32(0.5)
    if mode == "floor":
        return tirx.floor(position)
    if mode == "ceil":
        return tirx.ceil(position)
    return tirx.ceil(position - half) if mode == "round_prefer_floor" else tirx.floor(position + half)


def _shape(x: te.Tensor, plan: AxisResize) -> list[Dim]:
    return [plan.target if a == plan.axis else d for a, d in enumerate(dims(x.shape))]


def _extrapolated(call: Call, plan: AxisResize, out: Expr, value: Expr) -> Expr:
    """`value`, or the extrapolation value where tf_crop_and_resize looks outside the input."""
    if call.attr("coordinate_transformation_mode") != "tf_crop_and_resize":
        return value
    position = coordinate(call, plan, out)
    last = f32(plan.source - 1) if isinstance(plan.source, int) else tirx.Cast("float32", plan.source - 1)
    outside = tirx.Or(position < f32(0), position > last)
    outer = tirx.const(call.attr("extrapolation_value"), dtype_of(value))
    return tirx.Select(outside, outer, value)


def _interpolated(call: Call, x: te.Tensor, plan: AxisResize) -> te.Tensor:
    """Linear or cubic, widened to the step of the output when antialiased."""
    stretch = _stretch(call, plan)
    reach = (1 if call.attr("mode") == "linear" else 2) * stretch
    taps = 2 * -int(-reach // 1)
    if stretch == 1:
        return _few_taps(call, x, plan, taps)
    return _many_taps(call, x, plan, taps, stretch)


def _stretch(call: Call, plan: AxisResize) -> float:
    """How much wider than one input element the filter is."""
    if not call.attr("antialias", 0):
        return 1
    if isinstance(plan.scale, Expr):
        raise UnsupportedOpError("antialias needs a static scale")
    return max(1.0, 1.0 / float(plan.scale))


def _filter(call: Call, distance: Expr) -> Expr:
    """The weight of an input element at a distance (not negative, in widths of the filter)."""
    one, zero = f32(1), f32(0)
    if call.attr("mode") == "linear":
        return tirx.Max(zero, one - distance)
    a = f32(call.attr("cubic_coeff_a"))
    d = distance
    near = ((a + f32(2)) * d - (a + f32(3))) * d * d + one
    far = ((a * d - f32(5) * a) * d + f32(8) * a) * d - f32(4) * a
    return tirx.Select(d <= one, near, tirx.Select(d < f32(2), far, zero))


def _tap(call: Call, plan: AxisResize, out: Expr, number: Dim, taps: int, stretch: float) -> tuple[Expr, Expr]:
    """Index (not yet cut to the input) and weight of one tap of output element `out`."""
    position = coordinate(call, plan, out)
    base = tirx.floor(position)
    index = base.astype("int32") + (number - (taps // 2 - 1))
    distance = tirx.abs(position - index.astype("float32"))
    weight = _filter(call, distance if stretch == 1 else distance / f32(stretch))
    if call.attr("exclude_outside", 0):
        inside = tirx.And(index >= 0, index < plan.source)
        weight = tirx.Select(inside, weight, f32(0))
    return index, weight


def _normalizes(call: Call, stretch: float) -> bool:
    return stretch != 1 or bool(call.attr("exclude_outside", 0))


def _few_taps(call: Call, x: te.Tensor, plan: AxisResize, taps: int) -> te.Tensor:
    """Two or four taps, written out."""
    axis = plan.axis

    def element(*i: Expr) -> Expr:
        parts = [_tap(call, plan, i[axis], number, taps, 1) for number in range(taps)]
        loads = [x(*i[:axis], clamp(index, 0, plan.source - 1), *i[axis + 1 :]) for index, _ in parts]
        value = sum(
            (load * weight.astype(dtype_of(x)) for load, (_, weight) in zip(loads[1:], parts[1:], strict=True)),
            loads[0] * parts[0][1].astype(dtype_of(x)),
        )
        if _normalizes(call, 1):
            value = value / sum((w for _, w in parts[1:]), parts[0][1]).astype(dtype_of(x))
        return _extrapolated(call, plan, i[axis], value)

    return te.compute(_shape(x, plan), element, name=f"resize_{call.attr('mode')}")


def _many_taps(call: Call, x: te.Tensor, plan: AxisResize, taps: int, stretch: float) -> te.Tensor:
    """A reduction over the taps of the widened filter, over that of its weights."""
    axis, dtype = plan.axis, dtype_of(x)
    k, kw = te.reduce_axis((0, taps), "k"), te.reduce_axis((0, taps), "kw")

    def weights(o: Expr) -> Expr:
        return te.sum(_tap(call, plan, o, kw, taps, stretch)[1], axis=kw)

    total = te.compute((plan.target,), weights, name="resize_weights")

    def element(*i: Expr) -> Expr:
        index, weight = _tap(call, plan, i[axis], k, taps, stretch)
        load = x(*i[:axis], clamp(index, 0, plan.source - 1), *i[axis + 1 :])
        return te.sum(load * (weight / total(i[axis])).astype(dtype), axis=k)

    summed = te.compute(_shape(x, plan), element, name="resize_antialias")
    if call.attr("coordinate_transformation_mode") != "tf_crop_and_resize":
        return summed
    return te.compute(summed.shape, lambda *i: _extrapolated(call, plan, i[axis], summed(*i)), name="resize_crop")
