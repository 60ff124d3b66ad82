"""Products and tables of com.microsoft whose weights are packed in blocks, by operators of ONNX on small integers.

Such a weight is bytes of several integers, the first in the lowest bits, with a scale and maybe a zero point for each
block. What follows is DequantizeLinear in blocks, the one form that passes and kernels know.
(ONNX Runtime, docs/ContribOperators.md: MatMulNBits, GatherBlockQuantized.)
"""

from __future__ import annotations

import ml_dtypes
import numpy as np
from onnx import TensorProto

from dsc.exchange.upgrade.edit import Edit, Rule

_UNSIGNED = {2: TensorProto.UINT2, 4: TensorProto.UINT4, 8: TensorProto.UINT8}
"""The type of integers of so many bits."""
_MIDDLE = {2: np.array(2, ml_dtypes.uint2), 4: np.array(8, ml_dtypes.uint4), 8: np.array(128, np.uint8)}
"""Their zero point where none is given."""
_OF_GATHER = {"gather_axis": 0, "quantize_axis": 1, "block_size": 128}
"""The attributes of GatherBlockQuantized, with what they are where they are not given."""


def _matmul(edit: Edit) -> None:
    """a @ transpose(dequantize(b)) + bias, b of n rows of k elements."""
    inputs = [*edit.node.input, *[""] * 6][:6]
    a, b, scales, zeros, g_idx, bias = inputs
    if g_idx:
        raise edit.refuse("weights whose groups are in another order (g_idx) are not supported; reorder them by group")
    if zeros and edit.given.get(zeros, TensorProto.UINT8) != TensorProto.UINT8:
        raise edit.refuse("zero points that are no bytes are not supported; round them to integers")
    k, n = (_positive(edit, name) for name in ("K", "N"))
    bits, block = _bits(edit, 4), _positive(edit, "block_size")
    if block < 16 or block & (block - 1):
        raise edit.refuse(f"blocks of {block} are not supported: powers of two from 16 on are")
    blocks = -(-k // block)
    whole = edit.emit("Reshape", [_unpacked(edit, b, bits), edit.int64s([n, blocks * block])])
    rows = _cut(edit, whole, k, blocks * block)
    scales = edit.emit("Reshape", [scales, edit.int64s([n, blocks])])
    if zeros:
        packed = -(-blocks * bits // 8)
        zeros = _unpacked(edit, edit.emit("Reshape", [zeros, edit.int64s([n, packed])]), bits)
        zeros = _cut(edit, edit.emit("Reshape", [zeros, edit.int64s([n, -1])]), blocks, packed * 8 // bits)
        zeros = _as_integers(edit, zeros, bits)
    else:
        zeros = edit.constant(np.full([n, blocks], _MIDDLE[bits]))
    integers = _as_integers(edit, rows, bits)
    weights = edit.emit("DequantizeLinear", [integers, scales, zeros], axis=1, block_size=block)
    product = [a, edit.emit("Transpose", [weights], perm=[1, 0])]
    if bias:
        edit.become("Add", edit.emit("MatMul", product), bias)
    else:
        edit.become("MatMul", *product)


def _gather(edit: Edit) -> None:
    """gather(dequantize(data), indices); bytes hold several integers along the last axis."""
    data, indices, scales, zeros = [*edit.node.input, ""][:4]
    axis, along, block = (edit.attribute(name, default) for name, default in _OF_GATHER.items())
    if edit.given.get(data) == TensorProto.UINT8:
        bits = _bits(edit, 4)
        data, zeros = (_in_rows(edit, each, bits) for each in (data, zeros))
        if not zeros:
            raise edit.refuse("a table of bytes without zero points is not supported")
    elif edit.given.get(data) not in (TensorProto.INT4, TensorProto.UINT4):
        raise edit.refuse("its table is no constant of bytes, or of integers of 4 bits")
    table = edit.emit("DequantizeLinear", [data, scales, *([zeros] if zeros else [])], axis=along, block_size=block)
    edit.become("Gather", table, indices)
    edit.put("axis", axis)


def _in_rows(edit: Edit, packed: str, bits: int) -> str:
    """A matrix of bytes as one of the integers in them; nothing of nothing."""
    if not packed or bits == 8:
        return packed
    return _as_integers(edit, edit.emit("Reshape", [_unpacked(edit, packed, bits), edit.int64s([0, -1])]), bits)


def _positive(edit: Edit, name: str) -> int:
    found = edit.attribute(name, 0)
    if not isinstance(found, int) or found < 1:
        raise edit.refuse(f"its {name} is {found}, and must be positive")
    return found


def _bits(edit: Edit, default: int) -> int:
    bits: int = edit.attribute("bits", default)
    if bits not in _UNSIGNED:
        raise edit.refuse(f"weights of {bits} bits are not supported: those of 2, 4 and 8 are")
    return bits


def _unpacked(edit: Edit, packed: str, bits: int) -> str:
    """Bytes whose integers are side by side along a new last axis; the bytes themselves where there is one in each."""
    if bits == 8:
        return packed
    mask = edit.constant(np.uint8((1 << bits) - 1))
    parts = []
    for first in range(0, 8, bits):
        amount = edit.constant(np.uint8(first))
        part = edit.emit("BitwiseAnd", [edit.emit("BitShift", [packed, amount], direction="RIGHT"), mask])
        parts.append(edit.emit("Unsqueeze", [part, edit.int64s([-1])]))
    return edit.emit("Concat", parts, axis=-1)


def _cut(edit: Edit, rows: str, length: int, whole: int) -> str:
    """The first `length` of `whole` elements of each row."""
    if length == whole:
        return rows
    return edit.emit("Slice", [rows, edit.int64s([0]), edit.int64s([length]), edit.int64s([1])])


def _as_integers(edit: Edit, values: str, bits: int) -> str:
    """Bytes in the type that has just their bits."""
    return values if bits == 8 else edit.emit("Cast", [values], to=_UNSIGNED[bits])


RULES: dict[str, Rule] = {"MatMulNBits": _matmul, "GatherBlockQuantized": _gather}
