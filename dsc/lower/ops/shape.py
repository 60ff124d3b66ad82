"""Data movement: an output element is one input element, found by arithmetic on its indices."""

from __future__ import annotations

from collections.abc import Sequence

from tvm import te, tirx
from tvm.ir import Expr

from dsc.ir import PackOp, UnpackOp, onnx
from dsc.lower.exprs import Dim, clamp, dims, floordiv, floormod, product, quotient, same, simplify
from dsc.lower.registry import Call, UnsupportedOpError, lowers
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


@lowers(onnx.Reshape, values=[1])
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


@lowers(onnx.Flatten)
def flatten(call: Call) -> te.Tensor:
    """Two dims: those before `axis`, and the rest."""
    x = call.inputs[0]
    axis = normalize_axis(call.attr("axis"), len(x.shape))
    return reshape(x, [product(x.shape[:axis]), product(x.shape[axis:])], "flatten")


@lowers(onnx.Squeeze, values=[1])
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


@lowers(onnx.Unsqueeze, values=[1])
def unsqueeze(call: Call) -> te.Tensor:
    """With new dims of size 1."""
    x = call.inputs[0]
    axes = call.integers(1)
    rank = len(x.shape) + len(axes)
    new = {normalize_axis(a, rank) for a in axes}
    sizes = iter(x.shape)
    shape = [1 if a in new else next(sizes) for a in range(rank)]
    return te.compute(shape, lambda *i: x(*(v for a, v in enumerate(i) if a not in new)), name="unsqueeze")


@lowers(onnx.Transpose)
def transpose(call: Call) -> te.Tensor:
    """Permuted axes; reversed by default."""
    x = call.inputs[0]
    order = call.attr("perm") or list(reversed(range(len(x.shape))))

    def element(*indices: Expr) -> Expr:
        where = dict(zip(order, indices, strict=True))
        return x(*(where[a] for a in range(len(order))))

    return te.compute([x.shape[a] for a in order], element, name="transpose")


@lowers(onnx.Expand, values=[1])
def expand(call: Call) -> te.Tensor:
    """Repeated along dims of size 1; the target broadcasts both ways."""
    x = call.inputs[0]
    shape = broadcast_shape(x.shape, call.sizes(1))
    return te.compute(shape, lambda *i: x(*broadcast_index(x.shape, shape, i)), name="expand")


@lowers(onnx.Tile, values=[1])
def tile(call: Call) -> te.Tensor:
    """Whole copies along each dim."""
    x = call.inputs[0]
    shape = [d * r for d, r in zip(dims(x.shape), call.sizes(1), strict=True)]

    def element(*indices: Expr) -> Expr:
        return x(*(floormod(i, d) for i, d in zip(indices, dims(x.shape), strict=True)))

    return te.compute(shape, element, name="tile")


@lowers(onnx.Concat)
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


@lowers(onnx.Split, values=[1])
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


@lowers(onnx.Slice, values=[1, 2, 3, 4])
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
    """First index and number of elements of start:end:step of `size`. Expressions are not negative."""
    if step == 0:
        raise UnsupportedOpError("the step of a slice is 0")
    if all(isinstance(v, int) for v in (start, end, size)):
        chosen = range(size)[start:end:step] if end >= -size or step > 0 else range(size)[start::step]
        return (chosen[0] if chosen else 0), len(chosen)
    low, high = (0, size) if step > 0 else (-1, size - 1)
    start, end = (_limit(v, size, low, high) for v in (start, end))
    count = floordiv(end - start + (step - 1 if step > 0 else step + 1), step)
    return start, clamp(count, 0, size)


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
    return index if same(index, high) else clamp(index, low, high)


@lowers(PackOp)
def pack(call: Call) -> te.Tensor:
    """NCHW to NC/b HW b: the elements of `axis` in blocks, which become the innermost dim."""
    x = call.inputs[0]
    axis, block = call.attr("axis"), call.attr("block")
    shape = [*x.shape[:axis], floordiv(simplify(x.shape[axis]), block), *x.shape[axis + 1 :], block]

    def element(*i: Expr) -> Expr:
        return x(*i[:axis], i[axis] * block + i[-1], *i[axis + 1 : -1])

    return te.compute(shape, element, name="pack")


@lowers(UnpackOp)
def unpack(call: Call) -> te.Tensor:
    """NC/b HW b to NCHW."""
    x = call.inputs[0]
    axis, block = call.attr("axis"), call.attr("block")
    shape = [*x.shape[:axis], simplify(x.shape[axis] * block), *x.shape[axis + 1 : -1]]

    def element(*i: Expr) -> Expr:
        return x(*i[:axis], floordiv(i[axis], block), *i[axis + 1 :], floormod(i[axis], block))

    return te.compute(shape, element, name="unpack")


@lowers(onnx.DepthToSpace)
def depth_to_space(call: Call) -> te.Tensor:
    """Channels become blocks of pixels: the block is the outer part of them in DCR order, else inner."""
    x = call.inputs[0]
    size = call.attr("blocksize")
    n, c, h, w = dims(x.shape)
    depth = quotient([c], [size * size])

    def element(b: Expr, d: Expr, y: Expr, z: Expr) -> Expr:
        inner = floormod(y, size) * size + floormod(z, size)
        channel = inner * depth + d if call.attr("mode") == "DCR" else d * (size * size) + inner
        return x(b, channel, floordiv(y, size), floordiv(z, size))

    return te.compute([n, depth, h * size, w * size], element, name="depth_to_space")


@lowers(onnx.SpaceToDepth)
def space_to_depth(call: Call) -> te.Tensor:
    """Blocks of pixels become channels: the block is the outer part of them in DCR order, else inner."""
    x = call.inputs[0]
    size = call.attr("blocksize")
    n, c, h, w = dims(x.shape)

    def element(b: Expr, channel: Expr, y: Expr, z: Expr) -> Expr:
        if call.attr("mode") == "CRD":
            inner, depth = floormod(channel, size * size), floordiv(channel, size * size)
        else:
            inner, depth = floordiv(channel, c), floormod(channel, c)
        return x(b, depth, y * size + floordiv(inner, size), z * size + floormod(inner, size))

    return te.compute([n, c * (size * size), floordiv(h, size), floordiv(w, size)], element, name="space_to_depth")
