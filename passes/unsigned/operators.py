"""What operators are to bytes: they pass them on, look them up, or make and read them by a zero point."""

from __future__ import annotations

from typing import TypeGuard

import numpy as np
from xdsl.dialects.builtin import TensorType
from xdsl.ir import Operation, SSAValue

from dsc.ir import Fact, OnnxOp, dims_of, element_of, has, onnx, rounded_between
from dsc.passes.fuse.roles import looks_up_bytes

_COMPARES = frozenset("Clip Concat Max MaxPool Min ReduceMax ReduceMin Where".split())
"""Operators that give bytes they were given, chosen by their order if not by their places."""
_ENCODED = onnx.QuantizeLinear, onnx.DequantizeLinear, onnx.ConvInteger, onnx.MatMulInteger
_ZERO_POINT = 2
"""The operand of those that is the zero point of the first operand, or of the result."""


def is_signed(value: SSAValue) -> bool:
    """Whether a tensor is of int8."""
    return isinstance(value.type, TensorType) and element_of(value.type).dtype == np.int8


def passes_on(op: Operation) -> bool:
    """Whether the bytes that an op gives are some it was given, whatever number each stands for."""
    return isinstance(op, OnnxOp) and (has(op, Fact.MOVES) or op.onnx_name in _COMPARES)


def is_encoded(op: Operation) -> TypeGuard[OnnxOp]:
    """Whether an op makes bytes by a zero point, or reads some by one as its first operand."""
    return isinstance(op, _ENCODED)


def is_product(op: Operation) -> TypeGuard[OnnxOp]:
    """Whether an op multiplies bytes."""
    return isinstance(op, (onnx.ConvInteger, onnx.MatMulInteger))


def tables_of(op: Operation) -> list[OnnxOp]:
    """What looks up, in tables for all bytes, the bytes that an op makes indices of; nothing where it makes them for
    anything else."""
    if not isinstance(op, onnx.Cast):
        return []
    users = [use.operation for use in op.results[0].uses]
    found = [user for user in users if looks_up_bytes(user) and dims_of(user.data.type) == (256,)]
    return found if len(found) == len(users) else []


def zero_point(op: OnnxOp) -> SSAValue | None:
    """The zero point of an op that is encoded; None where it is 0."""
    inputs = op.node_inputs()
    return inputs[_ZERO_POINT] if len(inputs) > _ZERO_POINT else None


def cast_from(op: Operation) -> tuple[float, float] | None:
    """Between which numbers the whole numbers of float32 are that an op casts to signed bytes; None where it does not,
    or they may be no whole numbers or no bytes."""
    found = rounded_between(op)
    return found if found is not None and -128 <= found[0] <= found[1] <= 127 else None
