"""Movement of values known at compile time; numpy does it on object arrays."""

from __future__ import annotations

import numpy as np

from dsc.ir.numbers import sliced
from dsc.ir.onnx import OnnxOp
from dsc.lower.shape_array import LIMIT, Array, Rule, integers


def _gather(op: OnnxOp, known: tuple[Array | None, ...]) -> Array | None:
    data, indices = known[0], integers(known[1])
    if data is None or indices is None:
        return None
    picked = np.asarray(indices, np.int64).reshape(known[1].shape)  # type: ignore[union-attr]
    axis = op.attr("axis", 0) % data.ndim
    # numpy gives an element, not an array, for a single index of no dims
    return np.take(data, picked.reshape(-1), axis).reshape(data.shape[:axis] + picked.shape + data.shape[axis + 1 :])


def _slice(_: OnnxOp, known: tuple[Array | None, ...]) -> Array | None:
    data, *limits = known
    if data is None or any(v is not None and integers(v) is None for v in limits):
        return None
    starts, ends, axes, steps = [integers(v) for v in (*limits, None, None)[:4]]
    if starts is None or ends is None:
        return None
    for position, (start, end) in enumerate(zip(starts, ends, strict=True)):
        axis = axes[position] if axes else position
        picked = sliced(start, end, steps[position] if steps else 1, data.shape[axis])
        data = data.take(list(picked), axis)
    return data


def _concat(op: OnnxOp, known: tuple[Array | None, ...]) -> Array | None:
    parts = [v for v in known if v is not None]
    return np.concatenate(parts, axis=op.attr("axis")) if len(parts) == len(known) else None


def _squeeze(_: OnnxOp, known: tuple[Array | None, ...]) -> Array | None:
    axes = integers(known[1]) if len(known) > 1 else None
    return np.squeeze(known[0], None if axes is None else tuple(axes))  # type: ignore[arg-type]


def _unsqueeze(_: OnnxOp, known: tuple[Array | None, ...]) -> Array | None:
    axes = integers(known[1])
    return None if axes is None else np.expand_dims(known[0], tuple(axes))  # type: ignore[arg-type]


def _reshape(_: OnnxOp, known: tuple[Array | None, ...]) -> Array | None:
    target = integers(known[1])
    return None if target is None else known[0].reshape(target)  # type: ignore[union-attr]


def _constant_of_shape(op: OnnxOp, known: tuple[Array | None, ...]) -> Array | None:
    shape = integers(known[0])
    if shape is None or np.prod(shape) > LIMIT:
        return None
    value = op.attr("value")
    return np.full(shape, 0.0 if value is None else np.asarray(value).reshape(-1)[0].item(), object)


def _expand(_: OnnxOp, known: tuple[Array | None, ...]) -> Array | None:
    shape = integers(known[1])
    if shape is None or np.prod(shape) > LIMIT:
        return None
    return np.broadcast_to(known[0], np.broadcast_shapes(known[0].shape, tuple(shape)))  # type: ignore[arg-type, union-attr]


def _range(_: OnnxOp, known: tuple[Array | None, ...]) -> Array | None:
    limits = [integers(v) for v in known]
    if any(v is None for v in limits):
        return None
    start, limit, delta = (v[0] for v in limits if v is not None)
    count = max(0, -((start - limit) // delta))
    return np.arange(start, limit, delta).astype(object) if count <= LIMIT else None


MOVEMENT: dict[str, Rule] = {
    "Gather": _gather,
    "Slice": _slice,
    "Concat": _concat,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Reshape": _reshape,
    "ConstantOfShape": _constant_of_shape,
    "Expand": _expand,
    "Range": _range,
}
"""By ONNX name."""
