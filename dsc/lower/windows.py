"""Sliding windows of convolutions and pools: sizes, padding and the index arithmetic they share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tvm import te, tirx
from tvm.ir import Expr

from dsc.lower.exprs import Dim, ceildiv, clamp, dims, floordiv, maximum, minimum, simplify
from dsc.lower.registry import Call


@dataclass(frozen=True)
class Windows:
    """Where the windows of each spatial axis lie."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    begin: tuple[Dim, ...]
    """Padding before the first element."""
    end: tuple[Dim, ...]
    """Padding after the last element."""
    source: tuple[Dim, ...]
    """Sizes of the input."""
    out: tuple[Dim, ...]
    """Sizes of the output."""

    @property
    def padded(self) -> bool:
        """Whether there is any padding."""
        return any(not isinstance(p, int) or p != 0 for p in (*self.begin, *self.end))

    def position(self, axis: int, out: Expr, k: Dim) -> Dim:
        """Index in the unpadded input of tap `k` of window `out`; outside of it in the padding."""
        return out * self.strides[axis] + k * self.dilations[axis] - self.begin[axis]

    def covered(self, axis: int, out: Expr, with_padding: bool) -> Dim:
        """How many taps of window `out` lie on the input, or on the input and its padding."""
        first = self.position(axis, out, 0)
        low, high = (-self.begin[axis], self.source[axis] + self.end[axis]) if with_padding else (0, self.source[axis])
        step = self.dilations[axis]
        start = clamp(ceildiv(low - first, step), 0, self.kernel[axis])
        stop = clamp(ceildiv(high - first, step), 0, self.kernel[axis])
        return stop - start


def windows(call: Call, source: Sequence[Dim], kernel: Sequence[int]) -> Windows:
    """The windows of a convolution or pool over spatial sizes `source`, from the op's attributes."""
    rank = len(kernel)
    strides = tuple(call.attr("strides") or [1] * rank)
    dilations = tuple(call.attr("dilations") or [1] * rank)
    extents = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    begin, end = _padding(call, source, extents, strides)
    ceil = bool(call.attr("ceil_mode", 0))
    out = [
        _out_size(size, b, e, extent, stride, ceil)
        for size, b, e, extent, stride in zip(dims(source), begin, end, extents, strides, strict=True)
    ]
    return Windows(tuple(kernel), strides, dilations, tuple(begin), tuple(end), tuple(dims(source)), tuple(dims(out)))


def _padding(
    call: Call, source: Sequence[Dim], extents: Sequence[int], strides: Sequence[int]
) -> tuple[list[Dim], list[Dim]]:
    rank = len(extents)
    mode = call.attr("auto_pad", "NOTSET")
    if mode in ("NOTSET", ""):
        pads = call.attr("pads") or [0] * (2 * rank)
        return list(pads[:rank]), list(pads[rank:])
    if mode == "VALID":
        return [0] * rank, [0] * rank
    totals = [
        maximum(0, (ceildiv(size, stride) - 1) * stride + extent - size)
        for size, extent, stride in zip(dims(source), extents, strides, strict=True)
    ]
    small = [floordiv(t, 2) for t in totals]
    large = [simplify(t - s) for t, s in zip(totals, small, strict=True)]
    return (small, large) if mode == "SAME_UPPER" else (large, small)


def _out_size(size: Dim, begin: Dim, end: Dim, extent: int, stride: int, ceil: bool) -> Dim:
    room = size + begin + end - extent
    if not ceil:
        return floordiv(room, stride) + 1
    # a window that would start in the padding behind the input is left out
    return minimum(ceildiv(room, stride) + 1, floordiv(size + begin - 1, stride) + 1)


def padded(x: te.Tensor, begin: Sequence[Dim], end: Sequence[Dim], value: Expr, name: str = "pad") -> te.Tensor:
    """`x` with `value` around it; one entry of `begin` and `end` for each dim."""
    shape = [simplify(b + d + e) for b, d, e in zip(begin, x.shape, end, strict=True)]

    def element(*indices: Expr) -> Expr:
        inside = []
        for i, b, d, e in zip(indices, begin, x.shape, end, strict=True):
            inside += [i >= b] if not _is_zero(b) else []
            inside += [i < d + b] if not _is_zero(e) else []
        load = x(*(i - b for i, b in zip(indices, begin, strict=True)))
        return tirx.if_then_else(tirx.all(*inside), load, value) if inside else load

    return te.compute(shape, element, name=name)


def _is_zero(value: Dim) -> bool:
    return isinstance(value, int) and value == 0
