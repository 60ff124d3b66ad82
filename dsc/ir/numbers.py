"""Numbers as tensors hold them, and the positions a slice picks: the arithmetic of constants, done in Python."""

from __future__ import annotations

import math

import numpy as np

from dsc.elements import integer_encoding


def stored(value: int | float | bool, dtype: np.dtype) -> int | float | bool:
    """What an element of type `dtype` holds of `value`: integers wrap, floats are rounded, all but 0 is true.

    A float that no integer of the type is near to (ONNX leaves it open) becomes what x86 makes of it: the least
    integer of the register it is converted in.
    """
    if dtype.kind == "b":
        return value != 0
    encoding = integer_encoding(dtype)
    if encoding is None:
        return _rounded(value, dtype)
    if isinstance(value, float):
        value = _truncated(value, 32 if encoding.bits < 32 or dtype == np.int32 else 64)
    return encoding.wrapped(int(value))


def _rounded(value: float, dtype: np.dtype) -> float:
    with np.errstate(over="ignore"):
        return float(np.asarray(value).astype(dtype))


def _truncated(value: float, bits: int) -> int:
    limit = 1 << (bits - 1)
    return math.trunc(value) if -limit - 1 < value < limit else -limit


def truncated_quotient(a: int, b: int) -> int:
    """a / b towards zero, as ONNX divides integers; ZeroDivisionError where b is 0."""
    quotient = abs(a) // abs(b)
    return quotient if (a < 0) == (b < 0) else -quotient


def sliced(start: int, end: int, step: int, size: int) -> range:
    """The positions that start:end:step picks of `size`, as ONNX clamps them.

    Not quite Python's: a start before the beginning begins at element 0 for negative steps too, and an end below
    -size is "before the first" there.
    """
    start, end = (v + size if v < 0 else v for v in (start, end))
    if step < 0:
        return range(min(max(start, 0), size - 1), min(max(end, -1), size - 1), step)
    return range(min(max(start, 0), size), min(max(end, 0), size), step)
