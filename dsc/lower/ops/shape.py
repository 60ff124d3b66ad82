"""Data movement: an output element is one input element, found by arithmetic on its indices."""

from __future__ import annotations

from collections.abc import Sequence

from tvm import te
from tvm.ir import Expr

from dsc.ir import onnx
from dsc.lower.exprs import Dim, dims, floormod, product, quotient, same
from dsc.lower.registry import Call, lowers
from dsc.lower.tensors import broadcast_index, broadcast_shape, const_like, normalize_axis, ravel, unravel


def reshape(x: te.Tensor, shape: Sequence[Dim], name: str = "reshape") -> te.Tensor:
    """The elements of `x`, row-major, in another shape. Dims that stay keep their index as it is."""
    if any(same(d, 0) for d in x.shape):
        return te.compute(shape, lambda *_: const_like(0, x), name=name)
    groups = _groups(dims(x.shape), dims(shape))

    def element(*indices: Expr) -> Expr:
        found: list[Dim] = []
        for source, target in groups:
            flat = ravel(indices[target], shape[target])
            found += unravel(flat, dims(x.shape)[source])
        return x(*found)

    return te.compute(shape, element, name=name)


def _groups(source: Sequence[Dim], target: Sequence[Dim]) -> list[tuple[slice, slice]]:
    """Runs of source and target dims of equal product, as short as can be told."""
    groups, i, j = [], 0, 0
    while i < len(source) and j < len(target):
        start = (i, j)
        a, b = source[i], target[j]
        i, j = i + 1, j + 1
        while not same(a, b):
            if i == len(source) and j == len(target):
                break
            grow_source = j == len(target) or (i < len(source) and same(floormod(b, a), 0))
            if grow_source:
                a, i = a * source[i], i + 1
            else:
                b, j = b * target[j], j + 1
        groups.append((slice(start[0], i), slice(start[1], j)))
    if not groups:
        return [(slice(0, len(source)), slice(0, len(target)))]
    last = groups[-1]  # what is left over are dims of size 1
    groups[-1] = (slice(last[0].start, len(source)), slice(last[1].start, len(target)))
    return groups


@lowers(onnx.Reshape, values=[1], moves=True)
def reshape_op(call: Call) -> te.Tensor:
    """The target may keep dims (0) and leave one to be computed (-1)."""
    x = call.inputs[0]
    target = call.sizes(1)
    shape = [
        x.shape[a] if isinstance(d, int) and d == 0 and not call.attr("allowzero") else d for a, d in enumerate(target)
    ]
    if any(isinstance(d, int) and d == -1 for d in shape):
        hole = next(a for a, d in enumerate(shape) if isinstance(d, int) and d == -1)
        shape[hole] = quotient(x.shape, shape[:hole] + shape[hole + 1 :])
    return reshape(x, shape)


@lowers(onnx.Flatten, moves=True)
def flatten(call: Call) -> te.Tensor:
    """Two dims: those before `axis`, and the rest."""
    x = call.inputs[0]
    axis = normalize_axis(call.attr("axis"), len(x.shape))
    return reshape(x, [product(x.shape[:axis]), product(x.shape[axis:])], "flatten")


@lowers(onnx.Squeeze, values=[1], moves=True)
def squeeze(call: Call) -> te.Tensor:
    """Without dims of size 1."""
    x = call.inputs[0]
    ones = [a for a, d in enumerate(dims(x.shape)) if same(d, 1)]
    axes = call.integers(1) if call.has(1) else ones
    dropped = {normalize_axis(a, len(x.shape)) for a in axes}
    kept = [a for a in range(len(x.shape)) if a not in dropped]

    def element(*indices: Expr) -> Expr:
        where = dict(zip(kept, indices, strict=True))
        return x(*(where.get(a, 0) for a in range(len(x.shape))))

    return te.compute([x.shape[a] for a in kept], element, name="squeeze")


@lowers(onnx.Unsqueeze, values=[1], moves=True)
def unsqueeze(call: Call) -> te.Tensor:
    """With new dims of size 1."""
    x = call.inputs[0]
    axes = call.integers(1)
    rank = len(x.shape) + len(axes)
    new = {normalize_axis(a, rank) for a in axes}
    sizes = iter(x.shape)
    shape = [1 if a in new else next(sizes) for a in range(rank)]
    return te.compute(shape, lambda *i: x(*(v for a, v in enumerate(i) if a not in new)), name="unsqueeze")


@lowers(onnx.Transpose, moves=True)
def transpose(call: Call) -> te.Tensor:
    """Permuted axes; reversed by default."""
    x = call.inputs[0]
    order = call.attr("perm") or list(reversed(range(len(x.shape))))

    def element(*indices: Expr) -> Expr:
        where = dict(zip(order, indices, strict=True))
        return x(*(where[a] for a in range(len(order))))

    return te.compute([x.shape[a] for a in order], element, name="transpose")


@lowers(onnx.Expand, values=[1], moves=True)
def expand(call: Call) -> te.Tensor:
    """Repeated along dims of size 1; the target broadcasts both ways."""
    x = call.inputs[0]
    shape = broadcast_shape(x.shape, call.sizes(1))
    return te.compute(shape, lambda *i: x(*broadcast_index(x.shape, shape, i)), name="expand")


@lowers(onnx.Tile, values=[1], moves=True)
def tile(call: Call) -> te.Tensor:
    """Whole copies along each dim."""
    x = call.inputs[0]
    shape = [d * r for d, r in zip(dims(x.shape), call.sizes(1), strict=True)]

    def element(*indices: Expr) -> Expr:
        return x(*(floormod(i, d) for i, d in zip(indices, dims(x.shape), strict=True)))

    return te.compute(shape, element, name="tile")
