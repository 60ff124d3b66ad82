"""Small integer tensors as expressions of dims: Shape -> Gather -> Concat -> Reshape, at compile time.

A value is an object array of numbers and of integer expressions. Float elements are numbers too, or
expressions that integers were cast to (as exporters do around Resize).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from xdsl.ir import Operation

from dsc.elements import computed
from dsc.ir.onnx import OnnxOp
from dsc.ir.types import element_of
from dsc.lower import exprs
from dsc.lower.exprs import Scalar, simplify
from dsc.lower.registry import UnsupportedOpError
from dsc.lower.shape_arithmetic import ARITHMETIC, in_type
from dsc.lower.shape_array import LIMIT, Array, array
from dsc.lower.shape_movement import MOVEMENT

Shape: TypeAlias = "Sequence[Scalar] | None"

_RULES = ARITHMETIC | MOVEMENT


def evaluate(op: Operation, known: Sequence[Array | None], shapes: Sequence[Shape]) -> Array | None:
    """The elements of the only result of `op`, or None where they are not known at compile time.

    `known` are the elements of the operands, `shapes` their dims, by position.
    Raises UnsupportedOpError where the operands do not fit the op.
    """
    if not isinstance(op, OnnxOp):
        return None
    name = op.onnx_name
    if name in ("Shape", "Size"):
        return _of_shape(op, name, shapes[0])
    if name == "Constant":
        return _constant(op)
    rule = _RULES.get(name)
    if rule is None or not known or known[0] is None:
        return None
    try:
        result = rule(op, tuple(known))
    except ZeroDivisionError:
        return None  # left to the kernel, which has a value for it
    except (ValueError, IndexError, ArithmeticError) as error:
        raise UnsupportedOpError(f"its operands do not fit: {error}", op) from error
    if result is None or result.size > LIMIT:
        return None
    return in_type(_simplified(result), element_of(op.results[0].type).dtype)


def is_shape_op(op: Operation) -> bool:
    """Whether `op` is only ever evaluated at compile time."""
    return op.name in ("onnx.Shape", "onnx.Size", "onnx.Constant")


def _of_shape(op: OnnxOp, name: str, shape: Shape) -> Array | None:
    if shape is None:
        return None
    if name == "Size":
        return array([simplify(exprs.product(shape))], ())
    return array(list(shape)[op.attr("start", 0) : op.attr("end")])


def _constant(op: OnnxOp) -> Array | None:
    for name in ("value", "value_int", "value_ints", "value_float", "value_floats"):
        value = op.attr(name)
        if value is not None:
            constant = computed(np.asarray(value))
            return constant.astype(object) if constant.size <= LIMIT and constant.dtype.kind in "iufb" else None
    return None


def _simplified(values: Array) -> Array:
    return array([simplify(v) for v in values.reshape(-1)], values.shape)
