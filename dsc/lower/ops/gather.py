"""Data movement by indices that are data."""

from __future__ import annotations

from tvm import te, tirx
from tvm.ir import Expr

from dsc.ir import onnx
from dsc.lower.exprs import Dim, dims
from dsc.lower.registry import Call, lowers
from dsc.lower.tensors import const_like, dtype_of, normalize_axis


def wrapped(index: Expr, size: Dim) -> Expr:
    """A possibly negative index, cut down to [0, size): wrong data must not read outside the tensor."""
    last = tirx.const(size - 1, dtype_of(index)) if isinstance(size, int) else (size - 1).astype(dtype_of(index))
    zero = const_like(0, index)
    if dtype_of(index).startswith("u"):
        return tirx.Min(index, last)
    positive = tirx.Select(index < zero, index + last + const_like(1, index), index)
    return tirx.Max(tirx.Min(positive, last), zero)


@lowers(onnx.Gather, moves=True)
def gather(call: Call) -> te.Tensor:
    """numpy.take: whole slices along an axis."""
    data, indices = call.inputs
    axis = normalize_axis(call.attr("axis"), len(data.shape))
    rank = len(indices.shape)
    size = dims(data.shape)[axis]

    def element(*i: Expr) -> Expr:
        index = wrapped(indices(*i[axis : axis + rank]), size)
        return data(*i[:axis], index, *i[axis + rank :])

    return te.compute([*data.shape[:axis], *indices.shape, *data.shape[axis + 1 :]], element, name="gather")


@lowers(onnx.GatherElements, moves=True)
def gather_elements(call: Call) -> te.Tensor:
    """numpy.take_along_axis."""
    data, indices = call.inputs
    axis = normalize_axis(call.attr("axis"), len(data.shape))
    size = dims(data.shape)[axis]

    def element(*i: Expr) -> Expr:
        return data(*i[:axis], wrapped(indices(*i), size), *i[axis + 1 :])

    return te.compute(indices.shape, element, name="gather_elements")


@lowers(onnx.GatherND, moves=True)
def gather_nd(call: Call) -> te.Tensor:
    """Slices of `data` found by index vectors, the last dim of `indices`."""
    data, indices = call.inputs
    batch = call.attr("batch_dims")
    depth = call.static(1, -1)
    outer = len(indices.shape) - 1
    sizes = dims(data.shape)

    def element(*i: Expr) -> Expr:
        vector = [wrapped(indices(*i[:outer], k), sizes[batch + k]) for k in range(depth)]
        return data(*i[:batch], *vector, *i[outer:])

    return te.compute([*indices.shape[:-1], *data.shape[batch + depth :]], element, name="gather_nd")


@lowers(onnx.OneHot, values=[1])
def one_hot(call: Call) -> te.Tensor:
    """values[1] where the new axis is at the index (from the end if negative), values[0] elsewhere."""
    indices, _, values = call.inputs
    (depth,) = call.values(1)
    depth = int(depth) if isinstance(depth, float) else depth
    axis = normalize_axis(call.attr("axis"), len(indices.shape) + 1)

    def element(*i: Expr) -> Expr:
        index = indices(*i[:axis], *i[axis + 1 :]).astype("int64")
        size = tirx.const(depth, "int64") if isinstance(depth, int) else depth
        index = tirx.Select(index < 0, index + size, index)
        return tirx.Select(tirx.EQ(index, i[axis].astype("int64")), values(1), values(0))

    return te.compute([*indices.shape[:axis], depth, *indices.shape[axis:]], element, name="one_hot")


@lowers(onnx.ReverseSequence, moves=True)
def reverse_sequence(call: Call) -> te.Tensor:
    """The first `sequence_lens[b]` elements along the time axis reversed, for each b of the batch axis."""
    x, lengths = call.inputs
    batch, time = call.attr("batch_axis"), call.attr("time_axis")

    def element(*i: Expr) -> Expr:
        length = lengths(i[batch])
        position = i[time].astype(dtype_of(length))
        moved = tirx.Select(position < length, length - position - const_like(1, length), position)
        return x(*(wrapped(moved, dims(x.shape)[time]) if a == time else v for a, v in enumerate(i)))

    return te.compute(x.shape, element, name="reverse_sequence")
