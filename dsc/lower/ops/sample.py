"""Sampling between the elements of an image, at places that are data."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

from tvm import te, tirx
from tvm.ir import Expr

from dsc.ir import onnx
from dsc.lower.exprs import Dim, clamp, dims
from dsc.lower.floats import f32, larger
from dsc.lower.ops.reduce import extreme
from dsc.lower.registry import Call, UnsupportedOpError, lowers
from dsc.lower.tensors import const_like, dtype_of

Tap = tuple[Expr, Expr]
"""An index along one axis (possibly outside) and its weight."""


@lowers(onnx.GridSample)
def grid_sample(call: Call) -> te.Tensor:
    """X [N, C, ...] at normalized coordinates grid [N, ..., rank], of which the last axis comes first."""
    x, grid = call.inputs
    space = dims(x.shape)[2:]
    places = dims(grid.shape)[1:-1]

    def element(n: Expr, c: Expr, *out: Expr) -> Expr:
        taps = []
        for a, size in enumerate(space):
            normalized = grid(n, *out, len(space) - 1 - a).astype("float32")
            taps.append(_taps(call, _position(call, normalized, size)))
        total = const_like(0, x)
        for chosen in itertools.product(*taps):
            load = _pixel(call, x, (n, c), [index for index, _ in chosen], space)
            for _, weight in chosen:
                load = load * weight.astype(dtype_of(x))
            total = total + load
        return total

    return te.compute([*x.shape[:2], *places], element, name="grid_sample")


def _limits(call: Call, size: Dim) -> tuple[Expr, Expr]:
    """The borders of the image: centres of its outer elements, or their edges."""
    length = tirx.Cast("float32", size) if isinstance(size, Expr) else f32(size)
    if call.attr("align_corners"):
        return f32(0), length - f32(1)
    return f32(-0.5), length - f32(0.5)


def _position(call: Call, normalized: Expr, size: Dim) -> Expr:
    """The coordinate of an element for one from -1 to 1, moved into the image where the padding asks for it."""
    low, high = _limits(call, size)
    position = low + (normalized + f32(1)) * f32(0.5) * (high - low)
    if call.attr("mode") == "nearest":
        position = tirx.nearbyint(position)
    if call.attr("padding_mode") == "border":
        # of cubic samples each element is moved into the image, not the place; far outside they are all the same
        beyond = f32(3 if call.attr("mode") == "cubic" else 0)
        length = tirx.Cast("float32", size) if isinstance(size, Expr) else f32(size)
        return tirx.Max(f32(0) - beyond, tirx.Min(length - f32(1) + beyond, position))
    return _reflected(position, low, high) if call.attr("padding_mode") == "reflection" else position


def _reflected(position: Expr, low: Expr, high: Expr) -> Expr:
    """`position` mirrored at the borders until it is between them."""
    span = tirx.Max(high - low, f32(1e-6))
    beyond = tirx.abs(position - low)
    folded = beyond - tirx.floor(beyond / (span * f32(2))) * span * f32(2)
    return low + tirx.Min(folded, span * f32(2) - folded)


def _taps(call: Call, position: Expr) -> list[Tap]:
    """The elements along one axis that make up the value at `position`."""
    if call.attr("mode") == "nearest":
        return [(position.astype("int32"), f32(1))]
    base = tirx.floor(position)
    part, index = position - base, base.astype("int32")
    if call.attr("mode") == "linear":
        return [(index, f32(1) - part), (index + 1, part)]
    if call.attr("mode") == "cubic":
        return [(index + k, _cubic(tirx.abs(part - f32(k)))) for k in (-1, 0, 1, 2)]
    raise UnsupportedOpError(f"mode '{call.attr('mode')}' is not known")


def _cubic(distance: Expr, a: float = -0.75) -> Expr:
    """Keys' kernel for a distance up to 2."""
    d = distance
    near = (f32(a + 2) * d - f32(a + 3)) * d * d + f32(1)
    far = ((f32(a) * d - f32(5 * a)) * d + f32(8 * a)) * d - f32(4 * a)
    return tirx.Select(d <= f32(1), near, far)


def _pixel(call: Call, x: te.Tensor, outer: tuple[Expr, Expr], index: Sequence[Expr], space: Sequence[Dim]) -> Expr:
    """One element; outside of the image what the padding says."""
    if call.attr("padding_mode") == "reflection":
        limits = [_limits(call, size) for size in space]
        index = [
            _reflected(i.astype("float32"), *limit).astype("int32") for i, limit in zip(index, limits, strict=True)
        ]
    inside = [clamp(i, 0, size - 1) for i, size in zip(index, space, strict=True)]
    load = x(*outer, *inside)
    if call.attr("padding_mode") != "zeros":
        return load
    hit = tirx.all(*(c for i, size in zip(index, space, strict=True) for c in (i >= 0, i < size)))
    return tirx.Select(hit, load, const_like(0, x))


@lowers(onnx.RoiAlign)
def roi_align(call: Call) -> te.Tensor:
    """Regions of X [N, C, H, W] as grids of the mean (or maximum) of bilinear samples; without rounding."""
    x, rois, batches = call.inputs
    samples = call.attr("sampling_ratio")
    if samples <= 0:
        raise UnsupportedOpError("sampling_ratio 0 makes the number of samples depend on data; set it")
    height, width = call.attr("output_height"), call.attr("output_width")
    ky, kx = te.reduce_axis((0, samples), "ky"), te.reduce_axis((0, samples), "kx")
    size = dims(x.shape)[2:]
    largest = call.attr("mode") == "max"

    def element(r: Expr, c: Expr, y: Expr, z: Expr) -> Expr:
        rows = _samples(call, rois, r, 1, y, ky, height)
        columns = _samples(call, rois, r, 0, z, kx, width)
        parts = _corners(x, (batches(r), c), (rows, columns), size)
        if largest:
            return extreme(dtype_of(x), largest=True)(_fold(larger, parts), axis=[ky, kx])
        return te.sum(_fold(lambda a, b: a + b, parts) / const_like(samples * samples, x), axis=[ky, kx])

    return te.compute([rois.shape[0], x.shape[1], height, width], element, name="roi_align")


def _fold(step: Callable[[Expr, Expr], Expr], parts: Sequence[Expr]) -> Expr:
    result = parts[0]
    for part in parts[1:]:
        result = step(result, part)
    return result


def _samples(call: Call, rois: te.Tensor, r: Expr, axis: int, bin_: Expr, k: te.IterVar, bins: int) -> Expr:
    """The coordinate of sample `k` of bin `bin_` along an axis (0 is x, 1 is y) of region `r`."""
    scale = const_like(call.attr("spatial_scale"), rois)
    half = call.attr("coordinate_transformation_mode") == "half_pixel"
    offset = const_like(0.5 if half else 0.0, rois)
    start, end = (rois(r, axis + side) * scale - offset for side in (0, 2))
    length = end - start if half else tirx.Max(end - start, const_like(1, rois))
    kind = dtype_of(rois)
    step = length / const_like(bins, rois)
    inner = (k.var.astype(kind) + const_like(0.5, rois)) / const_like(call.attr("sampling_ratio"), rois)
    return start + step * (bin_.astype(kind) + inner)


def _corners(x: te.Tensor, outer: tuple[Expr, Expr], place: tuple[Expr, Expr], size: Sequence[Dim]) -> list[Expr]:
    """The four weighted elements around a place; zeros from one element outside of the image on."""
    weights = []
    for position, length in zip(place, size, strict=True):
        limit = const_like(0, position) + (length.astype(dtype_of(position)) if isinstance(length, Expr) else length)
        outside = tirx.Or(position < const_like(-1, position), position > limit)
        held = tirx.Min(tirx.Max(const_like(0, position), position), limit - const_like(1, position))
        low = tirx.floor(held)
        part = held - low
        here = tirx.Select(outside, const_like(0, part), const_like(1, part))
        index = low.astype("int32")
        weights.append([(index, (const_like(1, part) - part) * here), (clamp(index + 1, 0, length - 1), part * here)])
    image = outer[0].astype("int32")
    return [
        x(clamp(image, 0, dims(x.shape)[0] - 1), outer[1], row, column) * (wy * wx).astype(dtype_of(x))
        for row, wy in weights[0]
        for column, wx in weights[1]
    ]
