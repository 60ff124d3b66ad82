"""Integer expressions of dims: numbers where they are known, TVM expressions where they are not."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable
from functools import reduce
from typing import TypeAlias

from tvm import sym, tirx
from tvm.ir import Expr
from tvm_ffi import structural_equal

Scalar: TypeAlias = "int | float | bool | Expr"
"""A number, or an expression of symbolic dims."""
Dim: TypeAlias = "int | Expr"
"""A size, index or offset."""


def simplify(value: Scalar) -> Scalar:
    """`value` in its simplest form; constants become Python numbers."""
    if not isinstance(value, Expr):
        return value
    if not isinstance(value, tirx.IntImm | tirx.FloatImm | tirx.Var):
        value = sym.Analyzer().simplify(value)
    if isinstance(value, tirx.IntImm):
        return bool(value.value) if str(value.ty) == "bool" else int(value.value)
    if isinstance(value, tirx.FloatImm):
        return float(value.value)
    return value


def dims(shape: Iterable[Dim]) -> list[Dim]:
    """The sizes of a shape, simplified: Python ints where static."""
    return [simplify(d) for d in shape]


def static(size: Dim) -> int | None:
    """The size if it is a number."""
    if isinstance(size, int):
        return size
    return int(size.value) if isinstance(size, tirx.IntImm) else None


def same(a: Scalar, b: Scalar) -> bool:
    """Whether `a` and `b` are provably equal."""
    if not isinstance(a, Expr) and not isinstance(b, Expr):
        return a == b
    if isinstance(a, Expr) and isinstance(b, Expr):
        if structural_equal(a, b):
            return True
        if isinstance(a, tirx.Var) and isinstance(b, tirx.Var):
            return False
    return simplify(a - b) == 0 if is_integer(a) and is_integer(b) else False


def product(factors: Iterable[Dim]) -> Dim:
    """The product of sizes; 1 for none."""
    return reduce(operator.mul, factors, 1)


def truncdiv(a: Dim, b: Dim) -> Dim:
    """a / b, rounded towards zero, as ONNX divides integers."""
    if is_natural(a) and is_natural(b):
        return floordiv(a, b)
    return _apply(lambda a, b: abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1), tirx.truncdiv, a, b)


def floordiv(a: Dim, b: Dim) -> Dim:
    """a // b, rounded down."""
    return _apply(operator.floordiv, tirx.floordiv, a, b)


def floormod(a: Dim, b: Dim) -> Dim:
    """a % b, with the sign of b."""
    return _apply(operator.mod, tirx.floormod, a, b)


def ceildiv(a: Dim, b: Dim) -> Dim:
    """a / b, rounded up."""
    return -floordiv(-a, b) if isinstance(a, int) and isinstance(b, int) else floordiv(a + b - 1, b)


def divides(part: int, whole: Dim) -> bool:
    """Whether `whole` is known to be a multiple of `part`."""
    return isinstance(whole, int) and whole % part == 0


def minimum(a: Scalar, b: Scalar) -> Scalar:
    """The smaller of two."""
    return _apply(min, tirx.min, a, b)


def maximum(a: Scalar, b: Scalar) -> Scalar:
    """The larger of two; sizes are known not to be negative."""
    for low, other in ((a, b), (b, a)):
        if isinstance(low, int) and low <= 0 and is_natural(other):
            return other
    return _apply(max, tirx.max, a, b)


def is_natural(value: Scalar) -> bool:
    """Whether `value` is known not to be negative, given that variables are sizes. (Differences may be.)"""
    if isinstance(value, tirx.IntImm):
        return bool(value.value >= 0)
    if isinstance(value, tirx.Add | tirx.Mul | tirx.Min | tirx.FloorDiv | tirx.Div):
        return is_natural(value.a) and is_natural(value.b)
    if isinstance(value, tirx.FloorMod):
        return is_natural(value.b)
    if isinstance(value, tirx.Select):
        return is_natural(value.true_value) and is_natural(value.false_value)
    if isinstance(value, tirx.Max):
        return is_natural(value.a) or is_natural(value.b)
    return isinstance(value, tirx.Var) or (isinstance(value, int) and value >= 0)


def clamp(value: Scalar, low: Scalar, high: Scalar) -> Scalar:
    """`value` limited to [low, high]."""
    return maximum(minimum(value, high), low)


def select(condition: Scalar, then: Scalar, otherwise: Scalar) -> Scalar:
    """`then` where `condition` holds; both are evaluated."""
    if not isinstance(condition, Expr):
        return then if condition else otherwise
    if not isinstance(then, Expr) and not isinstance(otherwise, Expr):
        dtype = "float32" if isinstance(then, float) or isinstance(otherwise, float) else "int64"
        return tirx.Select(condition, tirx.const(then, dtype), tirx.const(otherwise, dtype))
    return tirx.Select(condition, _like(then, otherwise), _like(otherwise, then))


def _like(value: Scalar, other: Scalar) -> Expr:
    return value if isinstance(value, Expr) else tirx.const(value, str(other.expr_ty()))  # type: ignore[union-attr]


def is_integer(value: Scalar) -> bool:
    """Whether `value` is an integer, or an expression of integer type."""
    return isinstance(value, int) or (isinstance(value, Expr) and "int" in str(value.expr_ty()))


def _apply(number: Callable[..., Scalar], expression: Callable[..., Expr], a: Scalar, b: Scalar) -> Scalar:
    if isinstance(a, Expr) or isinstance(b, Expr):
        return simplify(expression(_like(a, b), _like(b, a)))
    return number(a, b)


def equal(a: Scalar, b: Scalar) -> Expr:
    """The condition a == b, for an expression and a number or expression of any integer width."""
    return _like(a, b).equal(_like(b, a))


def quotient(numerators: Iterable[Dim], denominators: Iterable[Dim]) -> Dim:
    """The product of sizes over that of others which divide it, with common factors cancelled."""
    top, bottom = factors(numerators), factors(denominators)
    for factor in list(bottom[1]):
        match = next((f for f in top[1] if same(f, factor)), None)
        if match is not None:
            top[1].remove(match)
            bottom[1].remove(factor)
    common = math.gcd(top[0], bottom[0]) or 1
    return floordiv(product([top[0] // common, *top[1]]), product([bottom[0] // common, *bottom[1]]))


def factors(sizes: Iterable[Dim]) -> tuple[int, list[Expr]]:
    """The number and the expressions that a product of sizes is made of."""
    number, expressions, queue = 1, list[Expr](), list(sizes)
    while queue:
        size = simplify(queue.pop())
        if isinstance(size, int):
            number *= size
        elif isinstance(size, tirx.Mul):
            queue += [size.a, size.b]
        else:
            expressions.append(size)
    return number, expressions
