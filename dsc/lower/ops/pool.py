"""Pools over windows and over all of space."""

from __future__ import annotations

import math
from collections.abc import Callable

from tvm import te, tirx
from tvm.ir import Expr

from dsc.ir import onnx
from dsc.lower import composed
from dsc.lower.exprs import dims, product
from dsc.lower.ops.reduce import extreme, is_extreme, reduce
from dsc.lower.registry import Call, lowers
from dsc.lower.tensors import const_like, divisor, dtype_of, elementwise, is_float, ravel
from dsc.lower.windows import Windows, padded, windows


def _lowest(x: te.Tensor) -> Expr:
    return tirx.const(float("-inf"), dtype_of(x)) if is_float(x) else te.min_value(dtype_of(x))


def _surrounded(x: te.Tensor, spatial: Windows, value: Expr) -> te.Tensor:
    """`x` with `value` wherever a window reaches, ragged last windows of ceil_mode included."""
    end = []
    for a, (kernel, out) in enumerate(zip(spatial.kernel, spatial.out, strict=True)):
        reach = (out - 1) * spatial.strides[a] + (kernel - 1) * spatial.dilations[a] + 1
        end.append(dims([tirx.max(0, reach - spatial.begin[a] - spatial.source[a])])[0])
    begin = [0, 0, *spatial.begin]
    if all(isinstance(p, int) and p == 0 for p in (*begin, *end)):
        return x
    return padded(x, begin, [0, 0, *end], value)


@lowers(onnx.MaxPool)
def max_pool(call: Call) -> list[te.Tensor]:
    """The largest of each window, and where asked its place in the flat input."""
    x = call.inputs[0]
    spatial = windows(call, x.shape[2:], call.attr("kernel_shape"))
    source = _surrounded(x, spatial, _lowest(x))
    taps = [te.reduce_axis((0, k), f"rk{a}") for a, k in enumerate(spatial.kernel)]

    def element(n: Expr, c: Expr, *out: Expr) -> Expr:
        at = [i * s + k * d for i, s, k, d in zip(out, spatial.strides, taps, spatial.dilations, strict=True)]
        return extreme(dtype_of(x), largest=True)(source(n, c, *at), axis=taps)

    largest = te.compute([*x.shape[:2], *spatial.out], element, name="max_pool")
    return [largest, _places(call, source, largest, spatial)] if call.wanted(1) else [largest]


def _places(call: Call, source: te.Tensor, largest: te.Tensor, spatial: Windows) -> te.Tensor:
    """The flat index of the first element of each window that equals its largest."""
    taps = [te.reduce_axis((0, k), f"rp{a}") for a, k in enumerate(spatial.kernel)]
    n, c = source.shape[:2]

    def element(b: Expr, d: Expr, *out: Expr) -> Expr:
        at = [i * s + k * w for i, s, k, w in zip(out, spatial.strides, taps, spatial.dilations, strict=True)]
        inner = [a - p for a, p in zip(at, spatial.begin, strict=True)]
        size = spatial.source
        inside = [x for place, n in zip(inner, size, strict=True) for x in (place >= 0, place < n)]
        if call.attr("storage_order"):
            inner, size = inner[::-1], size[::-1]
        flat = (b * c + d) * product(size) + ravel(inner, size)
        hit = tirx.all(is_extreme(source(b, d, *at), largest(b, d, *out)), *inside)
        return te.min(tirx.Select(hit, flat.astype("int64"), te.max_value("int64")), axis=taps)

    del n
    return te.compute(largest.shape, element, name="max_pool_index")


@lowers(onnx.AveragePool)
def average_pool(call: Call) -> te.Tensor:
    """The mean of each window; padding counts where asked, what lies behind it never does."""
    x = call.inputs[0]
    spatial = windows(call, x.shape[2:], call.attr("kernel_shape"))
    total = _sum(_surrounded(x, spatial, const_like(0, x)), spatial, lambda v: v)
    with_padding = bool(call.attr("count_include_pad"))
    if not call.attr("ceil_mode") and (with_padding or not spatial.padded):
        share = tirx.const(1 / math.prod(spatial.kernel), dtype_of(x))
        return elementwise(lambda v: v * share, total, name="average_pool")

    def element(n: Expr, c: Expr, *out: Expr) -> Expr:
        count = product(spatial.covered(a, i, with_padding) for a, i in enumerate(out))
        return total(n, c, *out) / tirx.Cast(dtype_of(x), count)

    return te.compute(total.shape, element, name="average_pool")


def _sum(source: te.Tensor, spatial: Windows, of: Callable[[Expr], Expr]) -> te.Tensor:
    taps = [te.reduce_axis((0, k), f"rk{a}") for a, k in enumerate(spatial.kernel)]

    def element(n: Expr, c: Expr, *out: Expr) -> Expr:
        at = [i * s + k * d for i, s, k, d in zip(out, spatial.strides, taps, spatial.dilations, strict=True)]
        return te.sum(of(source(n, c, *at)), axis=taps)

    return te.compute([*source.shape[:2], *spatial.out], element, name="window_sum")


@lowers(onnx.LpPool)
def lp_pool(call: Call) -> te.Tensor:
    """(sum |x|^p)^(1/p) of each window."""
    x, p = call.inputs[0], call.attr("p")
    spatial = windows(call, x.shape[2:], call.attr("kernel_shape"))
    source = _surrounded(x, spatial, const_like(0, x))
    total = _sum(source, spatial, lambda v: composed.power(tirx.abs(v), float(p)))
    return elementwise(lambda v: composed.power(v, 1.0 / p), total, name="lp_pool")


@lowers(onnx.GlobalAveragePool, onnx.GlobalMaxPool, onnx.GlobalLpPool)
def global_pool(call: Call) -> te.Tensor:
    """A pool over all of space; its dims stay with size 1."""
    x, name = call.inputs[0], call.name
    axes = list(range(2, len(x.shape)))
    if name == "GlobalMaxPool":
        return reduce(extreme(dtype_of(x), largest=True), x, x.shape, axes, True, "global_max_pool")
    if name == "GlobalLpPool":
        p = call.attr("p")
        total = reduce(te.sum, lambda *i: composed.power(tirx.abs(x(*i)), float(p)), x.shape, axes, True, "lp_sum")
        return elementwise(lambda v: composed.power(v, 1.0 / p), total, name="global_lp_pool")
    total = reduce(te.sum, x, x.shape, axes, True, "global_sum")
    count = divisor((x.shape[a] for a in axes), dtype_of(x))
    return elementwise(lambda v: v / count, total, name="global_average_pool")
