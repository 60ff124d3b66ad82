"""The tensor expressions that others are computed by, and the memory that their elements take."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import tvm_ffi
from tvm import te


def stages(outputs: Sequence[te.Tensor]) -> Iterator[te.Tensor]:
    """Every tensor that `outputs` are computed by, themselves included, once."""
    seen: set[tuple[te.Operation, int]] = set()
    stack = list(outputs)
    while stack:
        tensor = stack.pop()
        place = tensor.op, tensor.value_index  # a tensor is no key: == means its elements
        if place not in seen:
            seen.add(place)
            stack.extend(tensor.op.input_tensors)
            yield tensor


def element_bytes(tensor: te.Tensor) -> int:
    """Of an element in memory."""
    return max(1, int(tvm_ffi.dtype(str(tensor.dtype)).bits) // 8)
