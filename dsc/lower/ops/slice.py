"""Joining tensors and taking parts of them."""

from __future__ import annotations

from collections.abc import Sequence

from tvm import te, tirx
from tvm.ir import Expr

from dsc.ir import onnx
from dsc.ir.numbers import sliced
from dsc.lower.exprs import Dim, ceildiv, clamp, dims, floordiv, is_natural, product, same, select, simplify
from dsc.lower.registry import Call, UnsupportedOpError, lowers
from dsc.lower.tensors import normalize_axis


@lowers(onnx.Concat, moves=True)
def concat_op(call: Call) -> te.Tensor:
    """Tensors one after another along an axis."""
    return concat(call.inputs, normalize_axis(call.attr("axis"), len(call.inputs[0].shape)))


def concat(tensors: Sequence[te.Tensor], axis: int) -> te.Tensor:
    """`tensors` one after another along `axis`; each element reads one of them only."""
    ends: list[Dim] = [0]
    for tensor in tensors:
        ends.append(simplify(ends[-1] + tensor.shape[axis]))

    def part(number: int, indices: Sequence[Expr]) -> Expr:
        return tensors[number](*indices[:axis], indices[axis] - ends[number], *indices[axis + 1 :])

    def element(*indices: Expr) -> Expr:
        chosen = part(len(tensors) - 1, indices)
        for number in reversed(range(len(tensors) - 1)):
            chosen = tirx.if_then_else(indices[axis] < ends[number + 1], part(number, indices), chosen)
        return chosen

    shape = list(tensors[0].shape)
    shape[axis] = ends[-1]
    return te.compute(shape, element, name="concat")


@lowers(onnx.Split, values=[1], moves=True)
def split(call: Call) -> list[te.Tensor]:
    """Parts along an axis: of given sizes, or equal but for the last."""
    x = call.inputs[0]
    axis = normalize_axis(call.attr("axis"), len(x.shape))
    sizes = call.sizes(1)
    if not sizes:
        count = call.attr("num_outputs") or len(call.op.results)
        size = floordiv(x.shape[axis] + (count - 1), count)
        sizes = [size] * (count - 1)
        sizes.append(simplify(x.shape[axis] - product([size, count - 1])))
    parts: list[te.Tensor] = []
    start: Dim = 0
    for size in sizes:
        parts.append(part_of(x, axis, start, size))
        start = simplify(start + size)
    return parts


def part_of(x: te.Tensor, axis: int, start: Dim, size: Dim, step: int = 1) -> te.Tensor:
    """`size` elements along `axis` from `start` on, `step` apart."""
    shape = [size if a == axis else d for a, d in enumerate(x.shape)]
    return te.compute(shape, lambda *i: x(*i[:axis], start + i[axis] * step, *i[axis + 1 :]), name="slice")


@lowers(onnx.Slice, values=[1, 2, 3, 4], moves=True)
def slice_op(call: Call) -> te.Tensor:
    """numpy's x[start:end:step], axis by axis, with limits outside the tensor cut down to it."""
    x = call.inputs[0]
    starts, ends = call.sizes(1), call.sizes(2)
    axes = call.integers(3) or range(len(starts))
    steps = call.integers(4) or [1] * len(starts)
    begin: list[Dim] = [0] * len(x.shape)
    stride = [1] * len(x.shape)
    shape = dims(x.shape)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        a = normalize_axis(axis, len(shape))
        begin[a], shape[a] = slice_limits(start, end, step, shape[a])
        stride[a] = step

    def element(*indices: Expr) -> Expr:
        return x(*(b + i * s for b, i, s in zip(begin, indices, stride, strict=True)))

    return te.compute(shape, element, name="slice")


def slice_limits(start: Dim, end: Dim, step: int, size: Dim) -> tuple[Dim, Dim]:
    """First index and number of elements of start:end:step of `size`."""
    if step == 0:
        raise UnsupportedOpError("the step of a slice is 0")
    if isinstance(start, int) and isinstance(end, int) and isinstance(size, int):
        chosen = sliced(start, end, step, size)
        return (chosen[0] if chosen else 0), len(chosen)
    if step > 0:
        start, end = (_limit(v, size, 0, size) for v in (start, end))
        return start, clamp(ceildiv(end - start, step), 0, size)
    # backwards from an element, at most to before the first
    start, end = _limit(start, size, 0, size - 1), _limit(end, size, -1, size - 1)
    return start, clamp(ceildiv(start - end, -step), 0, size)


def _limit(index: Dim, size: Dim, low: Dim, high: Dim) -> Dim:
    """A slice's limit, which may be negative or far outside, as an index from `low` to `high`."""
    if isinstance(index, int):
        if index >= 10**9:  # more than any dim
            return high
        if index <= -(10**9):
            return low
        if index < 0:
            return clamp(index + size, low, high)
        return 0 if index == 0 and low == 0 else clamp(index, low, high)
    if same(index, high):
        return index
    if not is_natural(index):  # minus a size, or a difference of sizes
        index = select(index < 0, index + size, index)
    return clamp(index, low, high)
