"""Values known at compile time: object arrays of numbers and of integer expressions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np

from dsc.ir.onnx import OnnxOp
from dsc.lower.exprs import Scalar

LIMIT = 64
"""The most elements a value has: larger tensors are data, to be computed at run time."""

Array: TypeAlias = np.ndarray
Rule: TypeAlias = "Callable[[OnnxOp, tuple[Array | None, ...]], Array | None]"
"""Of an op and its operands (the first is known): the result, or None where it is not known."""


def array(elements: Sequence[Scalar], shape: Sequence[int] | None = None) -> Array:
    """The object array of `elements`; one-dimensional unless a shape is given."""
    result = np.empty(len(elements), object)
    for index, element in enumerate(elements):
        result[index] = element
    return result if shape is None else result.reshape(shape)


def integers(values: Array | None) -> list[int] | None:
    """The elements as plain integers; None where one is an expression."""
    if values is None or not all(isinstance(v, int | np.integer | bool) for v in values.reshape(-1)):
        return None
    return [int(v) for v in values.reshape(-1)]
