"""Arithmetic of integers modulo 2^bits, as ONNX has it.

TVM gives LLVM sums and products of 32 bits and more as ones that do not overflow, signed and unsigned, and both make
x + 1 > x true and (x * 6) / 3 into x * 2. So those of 32 bits are done in 64, and those of 64 are put together
from unsigned ones that do not overflow. Operands are mentioned more than once: bind them.
"""

from __future__ import annotations

import operator
from collections.abc import Callable

from tvm import tirx
from tvm.ir import Expr

from dsc.lower.tensors import const_like, dtype_of, is_float, let

Binary = Callable[[Expr, Expr], Expr]


def _wrapping(plain: Binary, of_64_bits: Binary) -> Binary:
    """`plain` of floats and narrow integers, and the same modulo 2^bits of wider ones."""

    def of(a: Expr, b: Expr) -> Expr:
        dtype = dtype_of(a)
        if dtype in ("int32", "uint32"):
            wide = dtype.replace("32", "64")
            return plain(a.astype(wide), b.astype(wide)).astype(dtype)
        if dtype in ("int64", "uint64"):
            return of_64_bits(_unsigned(a), _unsigned(b)).astype(dtype)
        return plain(a, b)

    return of


def _unsigned(value: Expr) -> Expr:
    """The same 64 bits; TVM refuses to cast a negative number."""
    if isinstance(value, tirx.IntImm):
        return tirx.const(int(value.value) % 2**64, "uint64")
    return value.astype("uint64")


def _sum(a: Expr, b: Expr) -> Expr:
    """A + b if that is less than 2^64, else what is beyond it."""
    complement = tirx.bitwise_not(b)
    return tirx.Select(a <= complement, a + b, a - complement - const_like(1, a))


def _difference(a: Expr, b: Expr) -> Expr:
    return tirx.Select(a >= b, a - b, tirx.bitwise_not(b - a - const_like(1, a)))


def _product(a: Expr, b: Expr) -> Expr:
    """By halves, of which the products are less than 2^64; that of the upper ones is beyond."""
    half, bits = tirx.const(0xFFFFFFFF, "uint64"), tirx.const(32, "uint64")
    crossed = (((a >> bits) * (b & half)) & half) + (((a & half) * (b >> bits)) & half)
    return let((a & half) * (b & half), lambda lower: let(crossed << bits, lambda upper: _sum(lower, upper)))


add = _wrapping(operator.add, _sum)
sub = _wrapping(operator.sub, _difference)
mul = _wrapping(operator.mul, _product)


def negated(x: Expr) -> Expr:
    """-x; the least integer stays what it is."""
    return -x if is_float(x) else sub(const_like(0, x), x)


def magnitude(x: Expr) -> Expr:
    """|x|; the least integer stays what it is."""
    if is_float(x):
        return tirx.abs(x)
    return x if dtype_of(x).startswith("u") else tirx.Select(x < const_like(0, x), negated(x), x)


def quotient(a: Expr, b: Expr) -> Expr:
    """A / b towards zero; 0 for a divisor of 0, which traps, as does the least integer by -1."""
    found = _divided(tirx.truncdiv, a, b)
    if dtype_of(b).startswith("u"):
        return found
    flip = tirx.Select(tirx.EQ(b, const_like(-1, b)), const_like(-1, b), const_like(0, b))
    return let(flip, lambda f: let(found ^ f, lambda flipped: sub(flipped, f)))


def remainder(a: Expr, b: Expr) -> Expr:
    """A - b * (a / b rounded down), which has the sign of b; 0 for a divisor of 0."""
    return _divided(tirx.floormod, a, b)


def truncated_remainder(a: Expr, b: Expr) -> Expr:
    """A - b * (a / b towards zero), which has the sign of a; 0 for a divisor of 0."""
    return _divided(tirx.truncmod, a, b)


def _divided(divide: Binary, a: Expr, b: Expr) -> Expr:
    """`divide`, by 1 instead of 0 and -1; then 0 where the divisor is 0.

    By a mask, because TVM takes it for granted within a Select by b == 0 that b is not 0, although both sides are
    computed.
    """
    if isinstance(b, tirx.IntImm) and b.value not in (0, -1):
        return divide(a, b)
    nothing, zero = tirx.EQ(b, const_like(0, b)), const_like(0, b)
    traps = nothing if dtype_of(b).startswith("u") else tirx.Or(nothing, tirx.EQ(b, const_like(-1, b)))
    divisor = tirx.Select(traps, const_like(1, b), b)
    return let(divisor, lambda d: divide(a, d)) & tirx.Select(nothing, zero, tirx.bitwise_not(zero))


def converted(x: Expr, dtype: str) -> Expr:
    """X in another type. Floats become narrow integers by way of wider ones: -1 is certainly 255 then."""
    wide = {"int8": "int32", "uint8": "int32", "int16": "int32", "uint16": "int32", "uint32": "int64"}.get(dtype)
    return x.astype(wide).astype(dtype) if wide and is_float(x) else x.astype(dtype)
