"""Small integer tensors as expressions of dims: Shape -> Gather -> Concat -> Reshape, evaluated at compile
time.

A value is an object array of numbers and of integer expressions. Float elements are numbers too, or
expressions that
integers were cast to (as exporters do around Resize).
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import TypeAlias

import ml_dtypes
import numpy as np
from tvm import tirx
from tvm.ir import Expr
from xdsl.ir import Operation

from dsc.ir.onnx import OnnxOp
from dsc.ir.types import element_of
from dsc.lower import exprs
from dsc.lower.exprs import Scalar, select, simplify

LIMIT = 64
"""The most elements a value has: larger tensors are data, to be computed at run time."""

Array: TypeAlias = np.ndarray
Shape: TypeAlias = "Sequence[Scalar] | None"
Rule: TypeAlias = "Callable[[OnnxOp, tuple[Array | None, ...]], Array | None]"


def evaluate(op: Operation, known: Sequence[Array | None], shapes: Sequence[Shape]) -> Array | None:
    """The elements of the only result of `op`, or None where they are not known at compile time.

    `known` are the elements of the operands, `shapes` their dims, by position.
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
    result = rule(op, tuple(known))
    return None if result is None or result.size > LIMIT else _simplified(result)


def is_shape_op(op: Operation) -> bool:
    """Whether `op` is only ever evaluated at compile time."""
    return op.name in ("onnx.Shape", "onnx.Size", "onnx.Constant")


def array(elements: Sequence[Scalar], shape: Sequence[int] | None = None) -> Array:
    """The object array of `elements`; one-dimensional unless a shape is given."""
    result = np.empty(len(elements), object)
    for index, element in enumerate(elements):
        result[index] = element
    return result if shape is None else result.reshape(shape)


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
            constant = np.asarray(value)
            if constant.dtype == ml_dtypes.bfloat16:
                constant = constant.astype(np.float32)
            return constant.astype(object) if constant.size <= LIMIT and constant.dtype.kind in "iufb" else None
    return None


def _simplified(values: Array) -> Array:
    return array([simplify(v) for v in values.reshape(-1)], values.shape)


def _integers(values: Array | None) -> list[int] | None:
    """The elements as plain integers; None where one is an expression."""
    if values is None or not all(isinstance(v, int | np.integer | bool) for v in values.reshape(-1)):
        return None
    return [int(v) for v in values.reshape(-1)]


def _map(function: Callable[..., Scalar], *arrays: Array) -> Array:
    grids = np.broadcast_arrays(*arrays)
    return array(
        [function(*elements) for elements in zip(*(g.reshape(-1) for g in grids), strict=True)],
        grids[0].shape,
    )


def _pointwise(function: Callable[..., Scalar]) -> Rule:
    """An op with one result element for each (broadcast) operand element."""

    def rule(_: OnnxOp, known: tuple[Array | None, ...]) -> Array | None:
        operands = [v for v in known if v is not None]
        return _map(function, *operands) if len(operands) == len(known) else None

    return rule


def _folded(function: Callable[..., Scalar]) -> Rule:
    """A variadic op: Max, Min, Sum."""

    def rule(_: OnnxOp, known: tuple[Array | None, ...]) -> Array | None:
        result = known[0]
        for operand in known[1:]:
            if operand is None or result is None:
                return None
            result = _map(function, result, operand)
        return result

    return rule


def _divide(a: Scalar, b: Scalar) -> Scalar:
    """Division as ONNX has it: integers truncate. Dims are not negative, so rounding down is the same for
    them."""
    if isinstance(a, Expr) or isinstance(b, Expr):
        floats = any("float" in str(v.expr_ty()) if isinstance(v, Expr) else isinstance(v, float) for v in (a, b))
        return a / b if floats else exprs.floordiv(a, b)
    if isinstance(a, float) or isinstance(b, float):
        return float(np.float32(a) / np.float32(b))
    quotient = abs(a) // abs(b)
    return quotient if (a < 0) == (b < 0) else -quotient


def _multiply(a: Scalar, b: Scalar) -> Scalar:
    """A product; float(dim) * 2.0 stays exact as float(dim * 2)."""
    for dim, factor in ((a, b), (b, a)):
        if isinstance(dim, tirx.Cast) and isinstance(factor, float) and factor.is_integer():
            return tirx.Cast(dim.ty, dim.value * int(factor))
    if not isinstance(a, Expr) and not isinstance(b, Expr) and isinstance(a * b, float):
        return float(np.float32(a) * np.float32(b))
    return a * b


def _rounded(
    number: Callable[[float], float], expression: Callable[[Expr], Expr], exact: Callable[..., Scalar]
) -> Rule:
    """Floor or Ceil; of float(dim) it is nothing, of float(dim) / 2.0 an integer division."""

    def round_one(value: Scalar) -> Scalar:
        if not isinstance(value, Expr):
            return float(number(value))
        if isinstance(value, tirx.Cast):
            return value
        if isinstance(value, tirx.Div) and isinstance(value.a, tirx.Cast) and isinstance(value.b, tirx.FloatImm):
            divisor = float(value.b.value)
            if divisor.is_integer():
                return tirx.Cast(value.a.ty, exact(value.a.value, int(divisor)))
        return expression(value)

    return _pointwise(round_one)


def _cast(op: OnnxOp, known: tuple[Array | None, ...]) -> Array:
    dtype = element_of(op.results[0].type).dtype

    def convert(value: Scalar) -> Scalar:
        if not isinstance(value, Expr):
            return np.dtype(dtype).type(value).item()
        if dtype.kind in "iu" and isinstance(value, tirx.Cast) and "int" in str(value.value.expr_ty()):
            value = value.value
        if dtype.kind in "iu" and "int" in str(value.expr_ty()):
            return value  # all integer expressions are int64
        return tirx.Cast("int64" if dtype.kind in "iu" else str(dtype), value)

    return _map(convert, known[0])  # type: ignore[arg-type]


def _gather(op: OnnxOp, known: tuple[Array | None, ...]) -> Array | None:
    data, indices = known[0], _integers(known[1])
    if data is None or indices is None:
        return None
    picked = np.asarray(indices, np.int64).reshape(known[1].shape)  # type: ignore[union-attr]
    axis = op.attr("axis", 0) % data.ndim
    # numpy gives an element, not an array, for a single index of no dims
    return np.take(data, picked.reshape(-1), axis).reshape(data.shape[:axis] + picked.shape + data.shape[axis + 1 :])


def _slice(_: OnnxOp, known: tuple[Array | None, ...]) -> Array | None:
    data, *limits = known
    if data is None or any(v is not None and _integers(v) is None for v in limits):
        return None
    starts, ends, axes, steps = [_integers(v) for v in (*limits, None, None)[:4]]
    if starts is None or ends is None:
        return None
    selected = [slice(None)] * data.ndim
    for position, (start, end) in enumerate(zip(starts, ends, strict=True)):
        step = steps[position] if steps else 1
        stop = None if step < 0 and end < -data.size else end
        selected[axes[position] if axes else position] = slice(start, stop, step)
    return data[tuple(selected)]


def _concat(op: OnnxOp, known: tuple[Array | None, ...]) -> Array | None:
    parts = [v for v in known if v is not None]
    return np.concatenate(parts, axis=op.attr("axis")) if len(parts) == len(known) else None


def _squeeze(_: OnnxOp, known: tuple[Array | None, ...]) -> Array | None:
    axes = _integers(known[1]) if len(known) > 1 else None
    return np.squeeze(known[0], None if axes is None else tuple(axes))  # type: ignore[arg-type]


def _unsqueeze(_: OnnxOp, known: tuple[Array | None, ...]) -> Array | None:
    axes = _integers(known[1])
    return None if axes is None else np.expand_dims(known[0], tuple(axes))  # type: ignore[arg-type]


def _reshape(_: OnnxOp, known: tuple[Array | None, ...]) -> Array | None:
    target = _integers(known[1])
    return None if target is None else known[0].reshape(target)  # type: ignore[union-attr]


def _constant_of_shape(op: OnnxOp, known: tuple[Array | None, ...]) -> Array | None:
    shape = _integers(known[0])
    if shape is None or np.prod(shape) > LIMIT:
        return None
    value = op.attr("value")
    return np.full(shape, 0.0 if value is None else np.asarray(value).reshape(-1)[0].item(), object)


def _expand(_: OnnxOp, known: tuple[Array | None, ...]) -> Array | None:
    shape = _integers(known[1])
    if shape is None or np.prod(shape) > LIMIT:
        return None
    return np.broadcast_to(known[0], np.broadcast_shapes(known[0].shape, tuple(shape)))  # type: ignore[arg-type, union-attr]


def _range(_: OnnxOp, known: tuple[Array | None, ...]) -> Array | None:
    limits = [_integers(v) for v in known]
    if any(v is None for v in limits):
        return None
    start, limit, delta = (v[0] for v in limits if v is not None)
    count = max(0, -((start - limit) // delta))
    return np.arange(start, limit, delta).astype(object) if count <= LIMIT else None


def _where(_: OnnxOp, known: tuple[Array | None, ...]) -> Array | None:
    if any(v is None for v in known):
        return None
    return _map(lambda c, a, b: a if exprs.same(a, b) else select(c, a, b), *known)  # type: ignore[arg-type]


def _reduce(function: Callable[[Scalar, Scalar], Scalar]) -> Rule:
    """A reduction of one-dimensional values to one."""

    def rule(op: OnnxOp, known: tuple[Array | None, ...]) -> Array | None:
        values = known[0]
        if values is None or values.ndim != 1 or values.size == 0:
            return None
        result = values[0]
        for element in values[1:]:
            result = function(result, element)
        return array([result], (1,) if op.attr("keepdims", 1) else ())

    return rule


def _equal(a: Scalar, b: Scalar) -> Scalar:
    """Decides where it can; otherwise a condition for Where."""
    if exprs.same(a, b):
        return True
    if not isinstance(a, Expr) and not isinstance(b, Expr):
        return a == b
    size = a if isinstance(a, Expr) else b
    number = b if isinstance(a, Expr) else a
    if isinstance(size, tirx.Var) and isinstance(number, int) and number < 0:
        return False  # a dim is never negative: Reshape's -1 is a number
    return exprs.equal(a, b)


_RULES: dict[str, Rule] = {
    "Identity": lambda _, known: known[0],
    "Add": _pointwise(operator.add),
    "Sub": _pointwise(operator.sub),
    "Mul": _pointwise(_multiply),
    "Div": _pointwise(_divide),
    "Mod": _pointwise(exprs.floormod),
    "Neg": _pointwise(operator.neg),
    "Max": _folded(exprs.maximum),
    "Min": _folded(exprs.minimum),
    "Sum": _folded(operator.add),
    "Floor": _rounded(np.floor, tirx.floor, exprs.floordiv),
    "Ceil": _rounded(np.ceil, tirx.ceil, exprs.ceildiv),
    "Equal": _pointwise(_equal),
    "Where": _where,
    "Cast": _cast,
    "Gather": _gather,
    "Slice": _slice,
    "Concat": _concat,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Reshape": _reshape,
    "ConstantOfShape": _constant_of_shape,
    "Expand": _expand,
    "Range": _range,
    "ReduceProd": _reduce(operator.mul),
    "ReduceSum": _reduce(operator.add),
    "ReduceMax": _reduce(exprs.maximum),
    "ReduceMin": _reduce(exprs.minimum),
}
