"""Updates written into a copy of a tensor, where indices that are data say."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tvm import te, tirx
from tvm.ir import Expr
from tvm.script.ir_builder import IRBuilder
from tvm.script.ir_builder import tirx as T

from dsc.ir import onnx
from dsc.lower.exprs import Dim, dims, same
from dsc.lower.floats import larger, smaller
from dsc.lower.ops.gather import wrapped
from dsc.lower.registry import Call, lowers
from dsc.lower.tensors import dtype_of, normalize_axis, ravel, unravel

Place = Callable[[Sequence[tirx.Buffer], Sequence[Expr]], Sequence[Dim]]
"""Of the buffers of the index tensors and the indices of an update: the element it goes to."""

_COMBINE: dict[str, Callable[[Expr, Expr], Expr]] = {
    "none": lambda _, new: new,
    "add": lambda old, new: old + new,
    "mul": lambda old, new: old * new,
    "max": larger,
    "min": smaller,
}


def scatter(
    data: te.Tensor, updates: te.Tensor, sources: Sequence[te.Tensor], place: Place, reduction: str
) -> te.Tensor:
    """`data` with each update combined, in order, into the element at `place`.

    Updates may meet in one element, so they are one serial loop.
    """
    if any(same(size, 0) for size in updates.shape):
        return data
    combine = _COMBINE[reduction]
    total = 1
    for size in data.shape:
        total = total * size
    count = 1
    for size in updates.shape:
        count = count * size

    def body(ins: Sequence[tirx.Buffer], outs: Sequence[tirx.Buffer]) -> tirx.Stmt:
        old, new, *indices = ins
        (out,) = outs
        with IRBuilder() as builder:
            with T.seq_scope():
                with T.serial(0, total) as i:
                    at = unravel(i, dims(old.shape))
                    T.buffer_store(out, old[tuple(at)], at)
                with T.serial(0, count) as i:
                    update = unravel(i, dims(new.shape))
                    at = list(place(indices, update))
                    T.buffer_store(out, combine(out[tuple(at)], new[tuple(update)]), at)
            return builder.get()

    return te.extern([data.shape], [data, updates, *sources], body, dtype=dtype_of(data), name="scatter")


@lowers(onnx.ScatterElements)
def scatter_elements(call: Call) -> te.Tensor:
    """Each update goes to its own place, but for the index along one axis."""
    data, indices, updates = call.inputs
    axis = normalize_axis(call.attr("axis"), len(data.shape))
    size = dims(data.shape)[axis]

    def place(sources: Sequence[tirx.Buffer], i: Sequence[Expr]) -> Sequence[Dim]:
        return [*i[:axis], wrapped(sources[0][tuple(i)], size), *i[axis + 1 :]]

    return scatter(data, updates, [indices], place, call.attr("reduction"))


@lowers(onnx.ScatterND)
def scatter_nd(call: Call) -> te.Tensor:
    """Slices of updates go to the places that index vectors (the last dim of `indices`) name."""
    data, indices, updates = call.inputs
    depth = call.static(1, -1)
    outer = len(indices.shape) - 1
    sizes = dims(data.shape)

    def place(sources: Sequence[tirx.Buffer], i: Sequence[Expr]) -> Sequence[Dim]:
        vector = [wrapped(sources[0][(*i[:outer], k)], sizes[k]) for k in range(depth)]
        return [*vector, *i[outer:]]

    return scatter(data, updates, [indices], place, call.attr("reduction"))


@lowers(onnx.TensorScatter, moves=True)
def tensor_scatter(call: Call) -> te.Tensor:
    """A cache with new entries written from a position of each batch on; circular where asked."""
    past, update, position = call.inputs
    axis = normalize_axis(call.attr("axis"), len(past.shape))
    size = dims(past.shape)[axis]
    circular = call.attr("mode") == "circular"

    def place(sources: Sequence[tirx.Buffer], i: Sequence[Expr]) -> Sequence[Dim]:
        at = i[axis] + (sources[0][i[0]] if sources else 0)
        at = tirx.floormod(at, size) if circular else wrapped(at, size) if sources else at
        return [*i[:axis], at, *i[axis + 1 :]]

    return scatter(past, update, [] if position is None else [position], place, "none")


@lowers(onnx.MaxUnpool, values=[2])
def max_unpool(call: Call) -> te.Tensor:
    """The values of a max pool back at their places in the flat output, zeros elsewhere."""
    x, places, _ = call.inputs
    counted = counted_shape(call)
    return _unpooled(x, places, counted, call.sizes(2) or counted)


def counted_shape(call: Call) -> list[Dim]:
    """The shape of what a MaxUnpool takes to have been pooled, in which its indices count."""
    outer, space = dims(call.inputs[0].shape)[:2], dims(call.inputs[0].shape)[2:]
    kernel = call.attr("kernel_shape")
    strides = call.attr("strides") or [1] * len(kernel)
    pads = (None if call.has(2) else call.attr("pads")) or [0] * (2 * len(kernel))
    totals = [begin + end for begin, end in zip(pads[: len(kernel)], pads[len(kernel) :], strict=True)]
    return [*outer, *((d - 1) * s + k - p for d, s, k, p in zip(space, strides, kernel, totals, strict=True))]


def _unpooled(x: te.Tensor, places: te.Tensor, counted: Sequence[Dim], shape: Sequence[Dim]) -> te.Tensor:
    """`places` count in a tensor of `counted` shape, the corner of the output of `shape`."""
    zeros = te.compute(shape, lambda *_: tirx.const(0, dtype_of(x)), name="zeros")

    def place(sources: Sequence[tirx.Buffer], i: Sequence[Expr]) -> Sequence[Dim]:
        return unravel(wrapped(sources[0][tuple(i)], ravel([d - 1 for d in counted], counted) + 1), counted)

    return scatter(zeros, x, [places], place, "none")
