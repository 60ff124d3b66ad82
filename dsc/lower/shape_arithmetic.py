"""Arithmetic on values known at compile time: exact here, brought to the element type by `in_type` when it is done."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable

import numpy as np
from tvm import tirx
from tvm.ir import Expr

from dsc.elements import FloatEncoding
from dsc.ir.numbers import stored, truncated_quotient
from dsc.ir.onnx import OnnxOp
from dsc.ir.types import element_of
from dsc.lower import exprs
from dsc.lower.exprs import Scalar, select
from dsc.lower.shape_array import Array, Rule, array


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
    """Division as ONNX has it: integers truncate."""
    if isinstance(a, Expr) or isinstance(b, Expr):
        floats = any("float" in str(v.expr_ty()) if isinstance(v, Expr) else isinstance(v, float) for v in (a, b))
        return a / b if floats else exprs.truncdiv(a, b)
    if isinstance(a, float) or isinstance(b, float):
        with np.errstate(all="ignore"):
            return float(np.float64(a) / np.float64(b))
    return exprs.truncdiv(a, b)


def _remainder(op: OnnxOp, known: tuple[Array | None, ...]) -> Array | None:
    """Of integers: with the sign of the divisor, or that of the dividend where fmod is set."""

    def truncated(a: Scalar, b: Scalar) -> Scalar:
        if isinstance(a, Expr) or isinstance(b, Expr):
            return a - b * exprs.truncdiv(a, b)
        return math.fmod(a, b) if isinstance(a, float) or isinstance(b, float) else a - b * truncated_quotient(a, b)

    return _pointwise(truncated if op.attr("fmod") else exprs.floormod)(op, known)


def _multiply(a: Scalar, b: Scalar) -> Scalar:
    """A product; float(dim) * 2.0 stays exact as float(dim * 2)."""
    for dim, factor in ((a, b), (b, a)):
        if isinstance(dim, tirx.Cast) and isinstance(factor, float) and factor.is_integer():
            return tirx.Cast(dim.ty, dim.value * int(factor))
    return a * b


def _extreme(choose: Callable[[Scalar, Scalar], Scalar]) -> Callable[[Scalar, Scalar], Scalar]:
    """The larger or smaller of two; NaN wins."""

    def of(a: Scalar, b: Scalar) -> Scalar:
        nan = next((v for v in (a, b) if isinstance(v, float) and math.isnan(v)), None)
        return choose(a, b) if nan is None else nan

    return of


def _rounded(
    number: Callable[[float], float], expression: Callable[[Expr], Expr], exact: Callable[..., Scalar]
) -> Rule:
    """Floor or Ceil; of float(dim) it is nothing, of float(dim) / 2.0 an integer division."""

    def round_one(value: Scalar) -> Scalar:
        if not isinstance(value, Expr):
            return float(number(value))  # of infinities and NaN, too
        if isinstance(value, tirx.Cast):
            return value
        if isinstance(value, tirx.Div) and isinstance(value.a, tirx.Cast) and isinstance(value.b, tirx.FloatImm):
            divisor = float(value.b.value)
            if divisor.is_integer():
                return tirx.Cast(value.a.ty, exact(value.a.value, int(divisor)))
        return expression(value)

    return _pointwise(round_one)


def _cast(op: OnnxOp, known: tuple[Array | None, ...]) -> Array | None:
    """Floats of a byte or less saturate, or do not, and have modes of rounding: that is the lowering's."""
    encoding = element_of(op.results[0].type).encoding
    is_narrow = isinstance(encoding, FloatEncoding) and encoding.bits <= 8
    return None if is_narrow else known[0]


def in_type(values: Array, dtype: np.dtype) -> Array | None:
    """The elements as a tensor of `dtype` holds them; None where an expression may not fit into it.

    Integer expressions are int64: in an int32 they are taken to fit, as sizes do.
    """
    elements = [_converted(v, dtype) if isinstance(v, Expr) else stored(v, dtype) for v in values.reshape(-1)]
    return None if any(e is None for e in elements) else array(elements, values.shape)


def _converted(value: Expr, dtype: np.dtype) -> Expr | None:
    if str(value.expr_ty()) == str(dtype):
        return value
    integral = "int" in str(value.expr_ty())
    if dtype.kind == "b":
        return tirx.NE(value, tirx.const(0, str(value.expr_ty())))
    if dtype.kind in "iu":
        if dtype not in (np.int32, np.int64):
            return None
        if isinstance(value, tirx.Cast) and "int" in str(value.value.expr_ty()):
            value, integral = value.value, True
        return value if integral else tirx.Cast("int64", value)
    return tirx.Cast(str(dtype), value) if dtype.kind == "f" and dtype.itemsize > 1 else None


def _magnitude(a: Scalar) -> Scalar:
    if not isinstance(a, Expr):
        return abs(a)
    return a if exprs.is_natural(a) else exprs.maximum(a, -a)


def _where(_: OnnxOp, known: tuple[Array | None, ...]) -> Array | None:
    if any(v is None for v in known):
        return None
    return _map(lambda c, a, b: a if exprs.same(a, b) else select(c, a, b), *known)  # type: ignore[arg-type]


def _reduce(function: Callable[[Scalar, Scalar], Scalar]) -> Rule:
    """A reduction of one-dimensional values to one."""

    def rule(op: OnnxOp, known: tuple[Array | None, ...]) -> Array | None:
        values, axes = (*known, None)[:2]
        if values is None or values.ndim != 1 or values.size == 0:
            return None
        if len(op.operands) > 1 and axes is None:
            return None
        if (axes is None or axes.size == 0) and op.attr("noop_with_empty_axes", 0):
            return values
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
    if exprs.is_natural(size) and isinstance(number, int) and number < 0:
        return False  # a dim is never negative: Reshape's -1 is a number
    return exprs.equal(a, b)


def _compare(compare: Callable[[Scalar, Scalar], Scalar]) -> Rule:
    """A condition; dims are never negative, which decides some."""

    def of(a: Scalar, b: Scalar) -> Scalar:
        if isinstance(a, Expr) or isinstance(b, Expr):
            difference = exprs.simplify(a - b)
            return compare(difference, 0) if isinstance(difference, int) else compare(a, b)
        return compare(a, b)

    return _pointwise(of)


ARITHMETIC: dict[str, Rule] = {
    "Identity": lambda _, known: known[0],
    "Add": _pointwise(operator.add),
    "Sub": _pointwise(operator.sub),
    "Mul": _pointwise(_multiply),
    "Div": _pointwise(_divide),
    "Mod": _remainder,
    "Neg": _pointwise(operator.neg),
    "Max": _folded(_extreme(exprs.maximum)),
    "Min": _folded(_extreme(exprs.minimum)),
    "Sum": _folded(operator.add),
    "Floor": _rounded(np.floor, tirx.floor, exprs.floordiv),
    "Ceil": _rounded(np.ceil, tirx.ceil, exprs.ceildiv),
    "Equal": _pointwise(_equal),
    "Greater": _compare(operator.gt),
    "GreaterOrEqual": _compare(operator.ge),
    "Less": _compare(operator.lt),
    "LessOrEqual": _compare(operator.le),
    "Not": _pointwise(lambda a: tirx.Not(a) if isinstance(a, Expr) else not a),
    "Abs": _pointwise(_magnitude),
    "Where": _where,
    "Cast": _cast,
    "ReduceProd": _reduce(operator.mul),
    "ReduceSum": _reduce(operator.add),
    "ReduceMax": _reduce(_extreme(exprs.maximum)),
    "ReduceMin": _reduce(_extreme(exprs.minimum)),
}
"""By ONNX name."""
