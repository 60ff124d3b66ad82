"""Element by element: magnitudes and distances of arrays of any element type."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import ml_dtypes
import numpy as np


@dataclass(frozen=True)
class FloatFormat:
    """A floating type: its bits, the distance from 1 to the next number, the least normal and the largest number."""

    bits: int
    eps: float
    smallest: float
    largest: float


@cache
def float_format(dtype: np.dtype[np.generic]) -> FloatFormat | None:
    """The format of a real floating type, those of ml_dtypes included; None for other types."""
    if dtype.kind == "c":
        return None
    try:
        info = ml_dtypes.finfo(dtype)  # type: ignore[no-untyped-call]
    except ValueError:
        return None
    return FloatFormat(int(info.bits), float(info.eps), float(info.smallest_normal), float(info.max))


def is_float(dtype: np.dtype[np.generic]) -> bool:
    """Whether it is a real floating type."""
    return float_format(dtype) is not None


def magnitude(array: np.ndarray) -> np.ndarray:
    """Absolute values as float64, those that are not finite as 0."""
    size: np.ndarray = np.abs(array.astype(np.float64))
    size[~np.isfinite(size)] = 0.0
    return size


def differences(expected: np.ndarray, actual: np.ndarray) -> np.ndarray:
    """Absolute differences as float64: 0 between equal infinities and two NaN, inf where only one is finite."""
    if expected.dtype.kind in "iu":  # exact also where 64 bits do not fit a float
        wide = [array.astype(f"{array.dtype.kind}8") for array in (expected, actual)]
        larger, smaller = np.maximum(*wide), np.minimum(*wide)
        exact: np.ndarray = larger.view(np.uint64) - smaller.view(np.uint64)
        return exact.astype(np.float64)
    left, right = expected.astype(np.float64), actual.astype(np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        different = np.abs(left - right)
    different[(left == right) | (np.isnan(left) & np.isnan(right))] = 0.0
    different[np.isnan(different)] = np.inf
    return different
