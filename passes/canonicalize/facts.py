"""What rules ask about values: ranks, axes, whether two types say that the shapes are equal."""

from __future__ import annotations

from collections.abc import Iterable

import ml_dtypes
import numpy as np
from xdsl.dialects.builtin import BFloat16Type, Float16Type, Float32Type, Float64Type, TensorType
from xdsl.ir import Attribute, SSAValue

from dsc.ir import dims_of, shape_of


def rank(value: SSAValue) -> int | None:
    """The rank of a tensor; None when it is not known."""
    shape = shape_of(value.type)
    return None if shape is None else len(shape)


def static_shape(value: SSAValue) -> tuple[int, ...] | None:
    """The shape when all its dims are known."""
    shape = shape_of(value.type)
    return None if shape is None or min(shape, default=0) < 0 else shape


def is_float(value: SSAValue) -> bool:
    """Whether it is a tensor of floats that has arithmetic in ONNX."""
    type_ = value.type
    floats = (Float16Type, BFloat16Type, Float32Type, Float64Type)
    return isinstance(type_, TensorType) and isinstance(type_.element_type, floats)


def is_double(value: SSAValue) -> bool:
    """Whether it is a tensor of float64."""
    return isinstance(getattr(value.type, "element_type", None), Float64Type)


def scales_safely(weights: np.ndarray, factor: np.ndarray | float, axis: int | None = None) -> bool:
    """Whether ``weights * factor`` keeps all that the two hold; `factor` has an element for each step along `axis`.

    It does not where a product is infinite or no number, nor where all of them are below the normal numbers of their
    type: then ``(x @ w) * c`` and ``x @ (w * c)`` are no longer the same up to rounding.
    """
    if weights.size == 0:
        return True
    others = None if axis is None else tuple(a for a in range(weights.ndim) if a != axis)
    largest = np.abs(weights).max(axis=others).astype(np.float64)
    with np.errstate(all="ignore"):
        products = largest * np.abs(np.asarray(factor, np.float64))
    limits = ml_dtypes.finfo(weights.dtype)  # type: ignore[no-untyped-call]
    if not np.all(products <= float(limits.max)):
        return False
    vanish = products.max() < float(limits.tiny)
    return not vanish or not np.any((largest != 0) & (np.asarray(factor) != 0))


def all_finite(*arrays: np.ndarray) -> bool:
    """Whether there is neither an infinity nor a NaN in the arrays."""
    return all(bool(np.isfinite(array).all()) for array in arrays)


def same_element(a: SSAValue, b: SSAValue) -> bool:
    """Whether two tensors have the same element type."""
    return getattr(a.type, "element_type", None) == getattr(b.type, "element_type", 0)


def same_shape(a: Attribute, b: Attribute) -> bool:
    """Whether the types prove that the shapes are equal at run time: dim by dim the same size, or the same
    name.
    """
    first, second = dims_of(a), dims_of(b)
    if first is None or second is None or len(first) != len(second):
        return False
    return all(x == y and x != "" for x, y in zip(first, second, strict=True))


def same_volume_and_all_but_one(a: Attribute, b: Attribute) -> bool:
    """As `same_shape`, of tensors known to have as many elements: then one dim may be unknown, the others
    tell it.

    A dim of size 0 elsewhere would break the reasoning, so the known dims must be positive numbers.
    """
    first, second = dims_of(a), dims_of(b)
    if first is None or second is None or len(first) != len(second):
        return False
    unknown = [(x, y) for x, y in zip(first, second, strict=True) if not (x == y and x != "")]
    known = [x for x, y in zip(first, second, strict=True) if x == y and x != ""]
    return not unknown or (len(unknown) == 1 and all(isinstance(x, int) and x > 0 for x in known))


def positive_axes(axes: Iterable[int], rank: int) -> tuple[int, ...]:
    """Axes counted from the front, sorted."""
    return tuple(sorted(int(a) % rank for a in axes))


def reduced_axes(graph_constant: np.ndarray | None, rank: int | None) -> tuple[int, ...] | None:
    """The axes that a reduction with this `axes` operand has, sorted; None when not known."""
    if graph_constant is None or rank is None:
        return None
    return positive_axes(graph_constant.reshape(-1).tolist(), rank)


def per_channel(array: np.ndarray, channels: int, rank: int, axis: int = 1) -> np.ndarray | None:
    """A constant that broadcasts along all dims of a tensor but `axis`, as a vector of `channels`; None if it
    does not.

    rank: of the tensor it is combined with.
    """
    if array.ndim > rank:
        return None
    shape = (1,) * (rank - array.ndim) + array.shape
    if any(size != 1 for dim, size in enumerate(shape) if dim != axis) or shape[axis] not in (1, channels):
        return None
    return np.broadcast_to(array.reshape(-1), (channels,))
