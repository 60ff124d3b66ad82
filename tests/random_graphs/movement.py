"""Operators that move elements without computing on them."""

from __future__ import annotations

import numpy as np

from tests.random_graphs.arrays import BOOL, random_array
from tests.random_graphs.evaluate import Rejected
from tests.random_graphs.graph import MAX_RANK, Noise, RandomGraph, Value

N = Noise.NONE


def transpose(g: RandomGraph) -> None:
    value = g.pick(lambda v: v.rank > 1)
    g.add("Transpose", [value], N, perm=[int(i) for i in g.rng.permutation(value.rank)])


def reshape(g: RandomGraph) -> None:
    """To a shape with copied (0), inferred (-1) or written sizes."""
    value = g.pick(lambda v: v.rank > 0)
    dims = value.dims
    if value.static and g.rng.random() < 0.6:
        target = _factored(g, int(np.prod(dims)))
        if target and g.rng.random() < 0.5 and np.prod(dims):
            target[int(g.rng.integers(len(target)))] = -1
    else:  # keep the first, merge the rest
        keep = int(g.rng.integers(0, value.rank))
        target = [0] * keep + [-1]
    g.add("Reshape", [value, _integers(g, target)], N)


def _factored(g: RandomGraph, size: int) -> list[int]:
    parts = []
    while size > 1 and len(parts) < MAX_RANK - 1:
        factor = int(g.rng.choice([d for d in range(2, size + 1) if size % d == 0][:6]))
        parts.append(factor)
        size //= factor
    parts.append(size)
    return [int(p) for p in g.rng.permutation(parts)]


def squeeze(g: RandomGraph) -> None:
    value = g.pick(lambda v: 1 in v.dims)
    axes = [i for i, d in enumerate(value.dims) if d == 1]
    g.add("Squeeze", [value, _integers(g, [int(g.rng.choice(axes))])], N)


def unsqueeze(g: RandomGraph) -> None:
    value = g.pick(lambda v: v.rank < MAX_RANK - 1)
    g.add("Unsqueeze", [value, _integers(g, [int(g.rng.integers(-value.rank - 1, value.rank + 1))])], N)


def flatten(g: RandomGraph) -> None:
    value = g.pick(lambda v: v.rank > 1)
    g.add("Flatten", [value], N, axis=int(g.rng.integers(-value.rank, value.rank + 1)))


def slice_(g: RandomGraph) -> None:
    """Any starts, ends and steps, beyond the ends too."""
    value = g.pick(lambda v: v.rank > 0)
    count = int(g.rng.integers(1, value.rank + 1))
    axes = [int(a) for a in g.rng.choice(value.rank, count, replace=False)]
    big = [np.iinfo(np.int64).max, np.iinfo(np.int64).min]
    starts, ends = ([int(g.rng.choice([*range(-9, 10), *big])) for _ in axes] for _ in "ab")
    steps = [int(g.rng.choice([1, 1, 1, 2, 3, -1, -2])) for _ in axes]
    made = [starts, ends, axes, steps]
    operands = [_integers(g, v) for v in made[: int(g.rng.choice([4, 4, 3]))]]
    g.add("Slice", [value, *operands], N)


def concat(g: RandomGraph) -> None:
    first = g.pick(lambda v: v.rank > 0)
    axis = int(g.rng.integers(-first.rank, first.rank))
    at = axis % first.rank

    def fits(v: Value) -> bool:
        return (
            v.dtype == first.dtype
            and v.rank == first.rank
            and all(a[:at] + a[at + 1 :] == b[:at] + b[at + 1 :] for a, b in zip(v.sizes, first.sizes, strict=True))
        )

    others = [g.pick(fits) for _ in range(int(g.rng.integers(0, 3)))]
    if first.static and g.rng.random() < 0.3:
        dims = [int(d or 0) for d in first.dims]
        dims[at] = int(g.rng.integers(1, 4))
        others.append(g.random(first.dtype, dims))
    g.add("Concat", [first, *others], N, axis=axis)


def split(g: RandomGraph) -> None:
    value = g.pick(lambda v: any(d is not None and d > 1 for d in v.dims))
    axis = int(g.rng.choice([i for i, d in enumerate(value.dims) if d is not None and d > 1]))
    size = value.dims[axis] or 0
    cut = int(g.rng.integers(0, size))
    g.add("Split", [value, _integers(g, [cut, size - cut])], N, outputs=2, axis=axis)


def pad(g: RandomGraph) -> None:
    value = g.pick(lambda v: 0 < v.rank < 5 and v.dtype != BOOL)
    mode = str(g.rng.choice(["constant", "constant", "edge", "reflect", "wrap"]))
    low = -1 if mode == "constant" else 0
    smallest = min(min(s) for s in value.sizes)
    if mode in ("reflect", "wrap") and smallest < 3:
        raise Rejected
    pads = [int(p) for p in g.rng.integers(low, 3, 2 * value.rank)]
    fill = [g.constant(random_array(g.rng, value.dtype, ()))] if mode == "constant" and g.rng.random() < 0.5 else []
    g.add("Pad", [value, _integers(g, pads), *fill], N, mode=mode)


def expand(g: RandomGraph) -> None:
    value = g.pick(lambda v: v.rank < 5)
    target = [(d if d not in (None, 1) else int(g.rng.choice([1, 2, 3])) if d == 1 else 1) for d in value.dims]
    g.add("Expand", [value, _integers(g, [*([2] if g.rng.random() < 0.3 else []), *target])], N)


def tile(g: RandomGraph) -> None:
    value = g.pick(lambda v: 0 < v.rank < 5)
    g.add("Tile", [value, _integers(g, [int(r) for r in g.rng.choice([1, 1, 2, 3], value.rank)])], N)


def gather(g: RandomGraph) -> None:
    """By constant or computed indices, negative ones too."""
    value = g.pick(lambda v: v.rank > 0 and all(0 not in s for s in v.sizes))
    axis = int(g.rng.integers(-value.rank, value.rank))
    indices = _indices(
        g, min(s[axis] for s in value.sizes), [int(n) for n in g.rng.integers(1, 4, g.rng.integers(0, 3))]
    )
    g.add("Gather", [value, indices], N, axis=axis)


def gather_elements(g: RandomGraph) -> None:
    value = g.pick(lambda v: v.static and v.rank > 0)
    axis = int(g.rng.integers(0, value.rank))
    shape = [int(d or 0) for d in value.dims]
    limit = shape[axis]
    shape[axis] = int(g.rng.integers(1, 5))
    g.add("GatherElements", [value, _indices(g, limit, shape)], N, axis=axis)


def gather_nd(g: RandomGraph) -> None:
    value = g.pick(lambda v: v.rank > 1)
    limit = min(min(s[:2]) for s in value.sizes)
    g.add("GatherND", [value, _indices(g, limit, [3, int(g.rng.integers(1, 3))])], N)


def scatter(g: RandomGraph) -> None:
    """ScatterElements with distinct places, ScatterND with rows."""
    value = g.pick(lambda v: v.static and v.rank > 0 and 0 not in v.sizes[0])
    shape = [int(d or 0) for d in value.dims]
    if g.rng.random() < 0.5:
        axis = int(g.rng.integers(0, value.rank))
        places = np.argsort(g.rng.random(shape), axis).astype(np.int64)
        g.add("ScatterElements", [value, g.constant(places), g.random(value.dtype, shape)], N, axis=axis)
    else:
        rows = g.rng.permutation(shape[0])[: int(g.rng.integers(1, shape[0] + 1))].astype(np.int64)
        updates = g.random(value.dtype, [len(rows), *shape[1:]])
        g.add("ScatterND", [value, g.constant(rows[:, None]), updates], N)


def rearrange(g: RandomGraph) -> None:
    """DepthToSpace, SpaceToDepth, Trilu, ReverseSequence, OneHot, EyeLike."""
    op = str(g.rng.choice(["DepthToSpace", "SpaceToDepth", "Trilu", "ReverseSequence", "OneHot", "EyeLike"]))
    if op in ("DepthToSpace", "SpaceToDepth"):
        axes = (1,) if op == "DepthToSpace" else (2, 3)
        by = 4 if op == "DepthToSpace" else 2
        value = g.pick(
            lambda v: v.rank == 4 and v.dtype.kind == "f" and all(s[a] % by == 0 for s in v.sizes for a in axes)
        )
        g.add(op, [value], N, blocksize=2)
    elif op == "Trilu":
        value = g.pick(lambda v: v.rank > 1)
        diagonal = [g.constant(np.array(int(g.rng.integers(-3, 4)), np.int64))] if g.rng.random() < 0.6 else []
        g.add(op, [value, *diagonal], N, upper=int(g.rng.integers(0, 2)))
    elif op == "ReverseSequence":
        value = g.pick(lambda v: v.static and v.rank > 1 and v.dims[0] and v.dims[1])
        lengths = g.rng.integers(1, int(value.dims[0] or 1) + 1, int(value.dims[1] or 1)).astype(np.int64)
        g.add(op, [value, g.constant(lengths)], N, time_axis=0, batch_axis=1)
    elif op == "OneHot":
        indices = g.pick(lambda v: v.dtype == np.int64 and v.rank < 4)
        depth = g.constant(np.array(int(g.rng.integers(2, 6)), np.int64))
        g.add(op, [indices, depth, g.random(np.dtype(np.float32), [2])], N, axis=int(g.rng.choice([-1, 0])))
    else:
        g.add(op, [g.pick(lambda v: v.rank == 2)], N, k=int(g.rng.integers(-2, 3)))


def _integers(g: RandomGraph, values: list[int]) -> Value:
    return g.constant(np.array(values, np.int64), node=bool(g.rng.random() < 0.5))


def _indices(g: RandomGraph, limit: int, shape: list[int]) -> Value:
    if limit < 1:
        raise Rejected
    dtype = np.int64 if g.rng.random() < 0.7 else np.int32
    return g.constant(g.rng.integers(-limit, limit, shape).astype(dtype))


TABLE = {
    transpose: 4, reshape: 4, squeeze: 1, unsqueeze: 2, flatten: 1, slice_: 3, concat: 3, split: 2, pad: 2, expand: 1,
    tile: 1, gather: 2, gather_elements: 1, gather_nd: 1, scatter: 1, rearrange: 2,
}  # fmt: skip
