"""Checking what the caller passes against what the model takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from dsc.errors import UsageError
from dsc.runtime.manifest import TensorSpec


def checked_inputs(specs: Sequence[TensorSpec], given: Mapping[str, ArrayLike]) -> list[np.ndarray]:
    """The arrays in the order of `specs`. Nothing is cast.

    Raises `UsageError` for a name, dtype, rank or dim that does not fit, or symbolic dims that contradict
    each other.
    """
    if not isinstance(given, dict | Mapping):
        raise UsageError(f"inputs are arrays by name, not {type(given).__name__}. {_interface(specs)}")
    names = [spec.name for spec in specs]
    if len(given) != len(names) or any(name not in given for name in names):
        raise UsageError(_wrong_names(specs, given))
    sizes: dict[str, tuple[int, str]] = {}
    return [_checked(spec, given[spec.name], sizes) for spec in specs]


def _wrong_names(specs: Sequence[TensorSpec], given: Mapping[str, ArrayLike]) -> str:
    names = [spec.name for spec in specs]
    missing = [name for name in names if name not in given]
    unknown = [str(name) for name in given if name not in names]
    problems = [f"missing {', '.join(missing)}"] * bool(missing) + [f"unknown {', '.join(unknown)}"] * bool(unknown)
    return f"inputs: {'; '.join(problems)}. {_interface(specs)}"


def _interface(specs: Sequence[TensorSpec]) -> str:
    return f"The model takes {', '.join(map(str, specs)) or 'none'}"


def _checked(spec: TensorSpec, value: ArrayLike, sizes: dict[str, tuple[int, str]]) -> np.ndarray:
    if type(value) is np.ndarray and value.shape == spec.shape and value.dtype == spec.element:
        return value  # what most runs are given, of which nothing else has to be asked
    try:
        array = np.asarray(value)
    except Exception as error:  # whatever the object's own conversion raises
        raise UsageError(f"input {spec} was given something that is no array: {error}") from error
    if array.dtype.hasobject:
        raise UsageError(f"input {spec} was given something that is no array: {type(value).__name__}")
    if array.dtype != spec.element:
        raise UsageError(
            f"input {spec} was given {array.dtype}; nothing is cast silently: pass array.astype({spec.dtype!r})"
        )
    if array.ndim != len(spec.shape):
        raise UsageError(f"input {spec} needs {len(spec.shape)} dims, was given shape {list(array.shape)}")
    for axis, (dim, size) in enumerate(zip(spec.shape, array.shape, strict=True)):
        if isinstance(dim, int):
            if size != dim:
                raise UsageError(f"input {spec}: dim {axis} must be {dim}, was given shape {list(array.shape)}")
        elif dim is not None:
            expected, first = sizes.setdefault(dim, (size, spec.name))
            if size != expected:
                raise UsageError(f"input {spec}: dim {axis}, {dim!r}, is {size} here, but {expected} in input {first}")
    return array
