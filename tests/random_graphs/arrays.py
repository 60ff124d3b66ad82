"""Random arrays of every element type, with the values that break arithmetic."""

from __future__ import annotations

from collections.abc import Sequence

import ml_dtypes
import numpy as np

FLOATS = tuple(map(np.dtype, ("float32", "float64", "float16")))
SIGNED = tuple(map(np.dtype, ("int64", "int32", "int16", "int8")))
UNSIGNED = tuple(map(np.dtype, ("uint64", "uint32", "uint16", "uint8")))
INTEGERS = SIGNED + UNSIGNED
BOOL = np.dtype(bool)


def is_float(dtype: np.dtype) -> bool:
    """Whether `dtype` is a floating-point type (numpy files bfloat16 under "void")."""
    return dtype.kind == "f" or dtype == ml_dtypes.bfloat16


def random_array(rng: np.random.Generator, dtype: np.dtype, shape: Sequence[int], special: float = 0.0) -> np.ndarray:
    """Ordinary values of a type; a share `special` of them replaced by its NaN, infinities, zeros and extremes."""
    if dtype == BOOL:
        return rng.integers(0, 2, shape).astype(bool)
    if is_float(dtype):
        array = (rng.standard_normal(shape) * rng.choice([0.3, 1.0, 1.0, 4.0])).astype(dtype)
    else:
        low = 0 if dtype.kind == "u" else -8
        array = rng.integers(low, 9, shape).astype(dtype)
    if special and array.size:
        extremes = special_values(dtype)
        chosen = rng.random(shape) < special
        array = np.where(chosen, extremes[rng.integers(0, len(extremes), shape)], array).astype(dtype)
    return np.asarray(array, dtype).reshape(shape)


def special_values(dtype: np.dtype) -> np.ndarray:
    """What arithmetic on a type has to get right."""
    if not is_float(dtype):
        info = np.iinfo(dtype)
        return np.array([info.min, info.max, info.max - 1, info.min + 1, 0, 1], dtype)
    limits = ml_dtypes.finfo(dtype)
    values = [np.nan, np.inf, -np.inf, 0.0, -0.0, limits.max, limits.min, limits.smallest_subnormal, limits.tiny]
    return np.array([*values, 0.5, 1.5, 2.5, -0.5, 1.0, -1.0], dtype)
