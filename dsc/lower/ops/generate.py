"""Tensors made from numbers: ranges, fills, identity matrices, triangles, padding."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from tvm import te, tirx
from tvm.ir import Expr

from dsc.elements import computed
from dsc.ir import onnx
from dsc.lower.exprs import (
    Dim,
    Scalar,
    ceildiv,
    dims,
    equal,
    floormod,
    is_integer,
    is_natural,
    maximum,
    select,
    simplify,
    truncdiv,
)  # fmt: skip
from dsc.lower.registry import Call, UnsupportedOpError, lowers
from dsc.lower.tensors import const_like, dtype_of, normalize_axis
from dsc.lower.windows import padded


@lowers(onnx.ConstantOfShape, values=[0])
def constant_of_shape(call: Call) -> te.Tensor:
    """One value everywhere; 0 by default."""
    value = call.attr("value")
    number = 0.0 if value is None else computed(np.asarray(value)).reshape(-1)[0].item()
    return te.compute(call.sizes(0), lambda *_: tirx.const(number, call.dtype()), name="fill")


@lowers(onnx.Range, values=[0, 1, 2])
def range_op(call: Call) -> te.Tensor:
    """Start, start + delta, ... below the limit."""
    start, limit, delta = (_whole(call.values(i)[0]) for i in range(3))
    if all(isinstance(v, int | float) for v in (start, limit, delta)):
        count: Dim = max(0, int(np.ceil((limit - start) / delta)))
    elif all(is_integer(v) for v in (start, limit, delta)):
        count = maximum(0, _steps(limit - start, delta))
    else:
        raise UnsupportedOpError("the length of a Range of fractions must be constant")
    dtype = call.dtype()
    first, step = (v.astype(dtype) if isinstance(v, Expr) else tirx.const(v, dtype) for v in (start, delta))
    return te.compute((count,), lambda i: first + i.astype(dtype) * step, name="range")


def _steps(distance: Dim, delta: Dim) -> Dim:
    """Steps of `delta` that begin within `distance`, which lie in one direction.

    The division is by a positive number and no part of a Select: both sides of that are computed, and TVM drops a limit
    from the side whose condition implies it.
    """
    if is_natural(delta):
        return ceildiv(distance, maximum(delta, 1))
    return ceildiv(select(delta > 0, distance, -distance), maximum(maximum(delta, -delta), 1))


def _whole(value: Scalar) -> Scalar:
    """Floats that are whole numbers, and dims cast to float, as integers."""
    if isinstance(value, tirx.Cast) and "int" in str(value.value.expr_ty()):
        return value.value
    return int(value) if isinstance(value, float) and value.is_integer() else value


@lowers(onnx.EyeLike)
def eye_like(call: Call) -> te.Tensor:
    """Ones on the k-th diagonal."""
    k, dtype = call.attr("k"), call.dtype()
    return te.compute(call.inputs[0].shape, lambda i, j: equal(i + k, j).astype(dtype), name="eye")


@lowers(onnx.Trilu)
def trilu(call: Call) -> te.Tensor:
    """The upper or lower triangle from the k-th diagonal on, zeros elsewhere."""
    x, offset = call.inputs
    upper = call.attr("upper")

    def element(*i: Expr) -> Expr:
        k = 0 if offset is None else offset(*[0] * len(offset.shape))
        row, column = (v.astype("int64") for v in i[-2:])
        kept = column >= row + k if upper else column <= row + k
        return tirx.Select(kept, x(*i), const_like(0, x))

    return te.compute(x.shape, element, name="trilu")


@lowers(onnx.Pad, values=[1, 3], moves=True)
def pad(call: Call) -> te.Tensor:
    """Constant, edge, reflected or wrapped surroundings; negative pads crop."""
    x, _, fill, _ = call.inputs
    rank = len(x.shape)
    pads = call.sizes(1)
    axes = [normalize_axis(a, rank) for a in call.integers(3) or range(rank)]
    begin: list[Dim] = [0] * rank
    end: list[Dim] = [0] * rank
    for k, a in enumerate(axes):
        begin[a], end[a] = pads[k], pads[k + len(axes)]
    mode = call.attr("mode", "constant")
    if mode != "constant":
        return _mirrored(x, begin, end, mode)
    value = const_like(0, x) if fill is None else fill(*[0] * len(fill.shape)).astype(dtype_of(x))
    cropped = [_crops(v) for v in (*begin, *end)]
    if any(cropped):
        return _padded_and_cropped(x, begin, end, value)
    return padded(x, begin, end, value)


def _crops(pad: Dim) -> bool:
    return not isinstance(pad, int) or pad < 0


def _padded_and_cropped(x: te.Tensor, begin: Sequence[Dim], end: Sequence[Dim], value: Expr) -> te.Tensor:
    shape = [simplify(b + d + e) for b, d, e in zip(begin, x.shape, end, strict=True)]

    def element(*indices: Expr) -> Expr:
        at = [i - b for i, b in zip(indices, begin, strict=True)]
        inside = [c for i, d in zip(at, x.shape, strict=True) for c in (i >= 0, i < d)]
        return tirx.if_then_else(tirx.all(*inside), x(*at), value)

    return te.compute(shape, element, name="pad")


def _mirrored(x: te.Tensor, begin: Sequence[Dim], end: Sequence[Dim], mode: str) -> te.Tensor:
    shape = [simplify(b + d + e) for b, d, e in zip(begin, x.shape, end, strict=True)]
    sizes = dims(x.shape)

    def source(index: Expr, size: Dim) -> Dim:
        if mode == "wrap":
            return floormod(index, size)
        if mode == "edge":
            return tirx.max(tirx.min(index, size - 1), 0)
        period = maximum(size * 2 - 2, 1)  # all of one element is that element
        folded = floormod(index, period)
        return tirx.min(folded, period - folded)

    def element(*indices: Expr) -> Expr:
        at = []
        for i, b, e, size in zip(indices, begin, end, sizes, strict=True):
            untouched = isinstance(b, int) and b == 0 and isinstance(e, int) and e == 0
            at.append(i if untouched else source(i - b, size))
        return x(*at)

    return te.compute(shape, element, name=f"pad_{mode}")


@lowers(onnx.CenterCropPad, values=[1])
def center_crop_pad(call: Call) -> te.Tensor:
    """Cropped or padded with zeros to a size, equally on both sides (the odd element at the end)."""
    x = call.inputs[0]
    rank = len(x.shape)
    target = call.sizes(1)
    axes = [normalize_axis(a, rank) for a in call.attr("axes") or range(rank)]
    begin: list[Dim] = [0] * rank
    end: list[Dim] = [0] * rank
    for a, size in zip(axes, target, strict=True):
        missing = simplify(size - x.shape[a])
        half = truncdiv(missing, 2)
        begin[a], end[a] = half, simplify(missing - half)
    return _padded_and_cropped(x, begin, end, const_like(0, x))
