"""Functions made of elementary ones, in the type of their operand; half precision in float32."""

from __future__ import annotations

import math

from tvm import tirx
from tvm.ir import Expr

from dsc.lower.floats import constant
from dsc.lower.functions import exp, log1p, pow
from dsc.lower.tensors import const_like, dtype_of, in_float32, is_float, let


def sigmoid(x: Expr) -> Expr:
    """1 / (1 + e^-x)."""

    def of(v: Expr) -> Expr:
        one = const_like(1, v)
        return one / (one + exp(const_like(0, v) - v))

    return in_float32(of, x)


def softplus(x: Expr) -> Expr:
    """log(1 + e^x); exact to the last bits for very negative x too."""

    def of(v: Expr) -> Expr:
        zero = const_like(0, v)
        return tirx.Max(zero, v) + log1p(exp(zero - tirx.abs(v)))

    return in_float32(lambda v: let(v, of), x)


def power(x: Expr, exponent: float) -> Expr:
    """x to a constant power: products and roots where it is a small multiple of 1/4."""
    if dtype_of(x) in ("float16", "bfloat16"):  # products of roots and powers would leave its range
        return in_float32(lambda v: power(v, exponent), x)
    quarters = abs(exponent) * 4
    if quarters > 64 or not quarters.is_integer() or not is_float(x):
        dtype = dtype_of(x)
        wide = dtype if is_float(x) else "float64"
        return pow(x.astype(wide), constant(exponent, wide)).astype(dtype)
    return let(x, lambda v: _quarters(v, int(quarters), exponent < 0))


def _quarters(x: Expr, quarters: int, invert: bool) -> Expr:
    one = const_like(1, x)
    whole, rest = divmod(quarters, 4)
    if rest:  # such powers of -0 and -infinity are those of 0 and infinity
        negative = tirx.EQ(x, const_like(-math.inf, x))
        x = tirx.Select(negative, const_like(math.inf, x), x + const_like(0, x))
    result = _integer_power(x, whole)
    if rest:
        root = tirx.sqrt(x) if rest == 2 else let(tirx.sqrt(x), lambda r: _quarter_roots(r, rest))
        result = root if result is None else result * root
    result = one if result is None else result
    return one / result if invert else result


def _quarter_roots(root: Expr, quarters: int) -> Expr:
    return tirx.sqrt(root) if quarters == 1 else root * tirx.sqrt(root)


def _integer_power(x: Expr, exponent: int) -> Expr | None:
    """x ** exponent by squaring; None for 1."""
    if exponent == 0:
        return None
    if exponent == 1:
        return x
    half = _integer_power(x, exponent // 2)
    assert half is not None, "exponents of two and more have a half"
    return let(half, lambda h: h * h * x if exponent % 2 else h * h)
