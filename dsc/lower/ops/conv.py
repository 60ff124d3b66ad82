"""Convolutions of any rank, groups, dilation and padding."""

from __future__ import annotations

from collections.abc import Sequence

from tvm import te, tirx
from tvm.ir import Expr

from dsc.ir import onnx
from dsc.lower.exprs import Dim, dims, equal, floordiv, floormod, quotient, simplify
from dsc.lower.registry import Call, lowers
from dsc.lower.tensors import cast, const_like, elementwise, ravel
from dsc.lower.windows import Windows, padded, windows


@lowers(onnx.Conv)
def conv(call: Call) -> te.Tensor:
    """X [N, C, ...] with W [M, C/group, ...] and bias B [M]."""
    x, w, bias = call.inputs
    spatial = windows(call, x.shape[2:], [call.static(1, a) for a in range(2, len(w.shape))])
    result = convolve(x, w, spatial, call.attr("group"), call.dtype())
    return result if bias is None else _with_bias(result, bias)


def convolve(x: te.Tensor, w: te.Tensor, spatial: Windows, group: int, dtype: str) -> te.Tensor:
    """The convolution as one reduction over the channels of the group and the taps."""
    n, c = dims(x.shape)[:2]
    m, per_group = dims(w.shape)[:2]
    if spatial.padded:
        x = padded(x, [0, 0, *spatial.begin], [0, 0, *spatial.end], const_like(0, x))
    channel = te.reduce_axis((0, per_group), "rc")
    taps = [te.reduce_axis((0, k), f"rk{a}") for a, k in enumerate(spatial.kernel)]

    def element(b: Expr, o: Expr, *out: Expr) -> Expr:
        first = 0 if group == 1 else floordiv(o, floordiv(m, group)) * per_group
        at = [i * s + k * d for i, s, k, d in zip(out, spatial.strides, taps, spatial.dilations, strict=True)]
        product = x(b, first + channel, *at).astype(dtype) * w(o, channel, *taps).astype(dtype)
        return te.sum(product, axis=[channel, *taps])

    del c
    return te.compute([n, m, *spatial.out], element, name="conv")


def _with_bias(result: te.Tensor, bias: te.Tensor) -> te.Tensor:
    """`result` [N, M, ...] plus bias [M]."""
    return te.compute(result.shape, lambda *i: result(*i) + bias(i[1]), name="bias")


@lowers(onnx.ConvTranspose)
def conv_transpose(call: Call) -> te.Tensor:
    """The transpose of a convolution: each input element spreads over a window of the output."""
    x, w, bias = call.inputs
    kernel = [call.static(1, a) for a in range(2, len(w.shape))]
    strides = call.attr("strides") or [1] * len(kernel)
    dilations = call.attr("dilations") or [1] * len(kernel)
    begin, out = _transposed_sizes(call, dims(x.shape)[2:], kernel, strides, dilations)
    group = call.attr("group")
    per_group = simplify(w.shape[1])
    inputs = floordiv(simplify(x.shape[1]), group)
    channel = te.reduce_axis((0, inputs), "rc")
    taps = [te.reduce_axis((0, k), f"rk{a}") for a, k in enumerate(kernel)]

    def element(b: Expr, o: Expr, *at: Expr) -> Expr:
        first = 0 if group == 1 else floordiv(o, per_group) * inputs
        offsets = [i + p - k * d for i, p, k, d in zip(at, begin, taps, dilations, strict=True)]
        sources = [floordiv(v, s) for v, s in zip(offsets, strides, strict=True)]
        hit = [equal(floormod(v, s), 0) for v, s in zip(offsets, strides, strict=True) if s != 1]
        for source, size in zip(sources, x.shape[2:], strict=True):
            hit += [source >= 0, source < size]
        product = x(b, first + channel, *sources) * w(first + channel, floormod(o, per_group), *taps)
        # a weight that is infinite reaches only where there is an element
        spread = tirx.if_then_else(tirx.all(*hit), product, tirx.const(0, call.dtype()))
        return te.sum(spread, axis=[channel, *taps])

    result = te.compute([x.shape[0], per_group * group, *out], element, name="conv_transpose")
    return result if bias is None else _with_bias(result, bias)


def _transposed_sizes(
    call: Call, source: Sequence[Dim], kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int]
) -> tuple[list[Dim], list[Dim]]:
    """Padding taken off before the first element, and the sizes of the output."""
    rank = len(kernel)
    extra = call.attr("output_padding") or [0] * rank
    full = [
        (size - 1) * s + e + (k - 1) * d + 1
        for size, s, e, k, d in zip(source, strides, extra, kernel, dilations, strict=True)
    ]
    mode = call.attr("auto_pad", "NOTSET")
    wanted = call.attr("output_shape")
    if wanted is None and mode in ("SAME_UPPER", "SAME_LOWER"):
        wanted = [size * s for size, s in zip(source, strides, strict=True)]
    if wanted is None:
        pads = (call.attr("pads") if mode != "VALID" else None) or [0] * (2 * rank)
        sizes = [simplify(f - b - e) for f, b, e in zip(full, pads[:rank], pads[rank:], strict=True)]
        return list(pads[:rank]), sizes
    totals = [simplify(f - o) for f, o in zip(full, wanted[-rank:], strict=True)]
    halves = [floordiv(t, 2) for t in totals]
    upper = mode == "SAME_UPPER"
    begin = halves if upper else [simplify(t - h) for t, h in zip(totals, halves, strict=True)]
    return begin, list(wanted[-rank:])


@lowers(onnx.ConvInteger)
def conv_integer(call: Call) -> te.Tensor:
    """A convolution of integers in int32, zero points taken off first."""
    x, w, x_zero, w_zero = call.inputs
    spatial = windows(call, x.shape[2:], [call.static(1, a) for a in range(2, len(w.shape))])
    return convolve(centered(x, x_zero), centered(w, w_zero), spatial, call.attr("group"), "int32")


def centered(x: te.Tensor, zero_point: te.Tensor | None) -> te.Tensor:
    """X minus its zero point in int32; one of rank 1 belongs to the first axis."""
    if zero_point is None:
        return cast(x, "int32")
    if len(zero_point.shape) == 1 and simplify(zero_point.shape[0]) != 1:
        return te.compute(x.shape, lambda *i: x(*i).astype("int32") - zero_point(i[0]).astype("int32"), name="centered")
    scalar = zero_point(*[0] * len(zero_point.shape)).astype("int32")
    return elementwise(lambda v: v.astype("int32") - scalar, x, name="centered")


@lowers(onnx.Col2Im, values=[1, 2])
def col2im(call: Call) -> te.Tensor:
    """Columns [N, C * taps, blocks] added up into an image: the transpose of gathering its blocks."""
    columns = call.inputs[0]
    image, block = call.sizes(1), call.integers(2)
    rank = len(block)
    strides, dilations = (call.attr(name) or [1] * rank for name in ("strides", "dilations"))
    pads = call.attr("pads") or [0] * (2 * rank)
    counts = [
        floordiv(size + pads[a] + pads[a + rank] - (block[a] - 1) * dilations[a] - 1, strides[a]) + 1
        for a, size in enumerate(image)
    ]
    n, depth, _ = dims(columns.shape)
    taps = [te.reduce_axis((0, k), f"rk{a}") for a, k in enumerate(block)]

    def element(b: Expr, c: Expr, *at: Expr) -> Expr:
        offsets = [i + pads[a] - k * dilations[a] for a, (i, k) in enumerate(zip(at, taps, strict=True))]
        which = [floordiv(v, s) for v, s in zip(offsets, strides, strict=True)]
        hit = [equal(floormod(v, s), 0) for v, s in zip(offsets, strides, strict=True) if s != 1]
        hit += [c for w, count in zip(which, counts, strict=True) for c in (w >= 0, w < count)]
        load = columns(b, ravel([c, *taps], [1, *block]), ravel(which, counts))
        return te.sum(tirx.if_then_else(tirx.all(*hit), load, const_like(0, columns)), axis=taps)

    return te.compute([n, quotient([depth], block), *image], element, name="col2im")
