"""What a run requires beyond the types of its inputs: sizes that fit one another, indices inside of tensors.

The model's library computes both, for all sizes in one call before a run and for indices that are data along with it;
what is here turns the number of a check that failed into a message.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tvm
import tvm_ffi

from dsc.errors import UsageError
from dsc.runtime.manifest import Check, Checks, TensorSpec

SIZES = "sizes"
"""The function of the library that checks sizes: (status: int64[3], size, size, ...)."""
PASSED = -1
"""The number of the failed check in a status, (check, left, right), when none has failed."""


class SizeCheck:
    """Checks sizes of inputs. Used by one thread at a time."""

    def __init__(self, library: tvm.runtime.Module, checks: Checks, inputs: Sequence[TensorSpec]) -> None:
        self._checks, self._inputs = checks, inputs
        self._function = library.get_function(SIZES, query_imports=True) if checks.sizes else None
        self._status = np.full(3, PASSED, np.int64)
        self._tensor = tvm_ffi.from_dlpack(self._status)

    def __call__(self, arrays: Sequence[np.ndarray]) -> None:
        """Raises `UsageError` where the sizes of the inputs do not fit what is computed of them."""
        if self._function is None:
            return
        self._function(self._tensor, *[arrays[position].shape[axis] for position, axis in self._checks.symbols])
        number, left, right = self._status
        if number == PASSED:
            return
        check = self._checks.sizes[number]
        raise UsageError(f"{_given(check, self._inputs, arrays)}{_failed(check, left, right)}")


def check_indices(status: np.ndarray, checks: Checks, inputs: Sequence[TensorSpec]) -> None:
    """Raises `UsageError` where a run has met an index outside of its tensor."""
    number, index, size = status
    if number != PASSED:
        check = checks.indices[number]
        source = "".join(f"input {inputs[position].name}: " for position, _ in check.places)
        raise UsageError(f"{source}{_failed(check, index, size)}")


def _given(check: Check, inputs: Sequence[TensorSpec], arrays: Sequence[np.ndarray]) -> str:
    """The dims that the sizes of a check are made of."""
    dims: dict[int, list[str]] = {}
    for position, axis in check.places:
        dims.setdefault(position, []).append(f"dim {axis} is {arrays[position].shape[axis]}")
    given = "; ".join(f"input {inputs[position].name}: {', '.join(found)}" for position, found in dims.items())
    return f"{given}. That does not fit " if given else ""


def _failed(check: Check, left: np.int64, right: np.int64) -> str:
    return check.text.replace("{left}", str(left)).replace("{right}", str(right))
