"""Floats of at most 8 bits, made of float32 and back by arithmetic on bits, which vectorizes without tables.

The formats are those of OCP (8-bit Floating Point, Microscaling) and their FNUZ kin, parameters in `dsc.elements`.
Magnitudes are int32, where vectors compare more cheaply than as uint32.
"""

from __future__ import annotations

import math

from tvm import tirx
from tvm.ir import Expr

from dsc.elements import FloatEncoding
from dsc.lower.floats import constant, smaller
from dsc.lower.tensors import dtype_of, let

_MANTISSA, _BIAS = 23, 127
_INFINITY = 0x7F800000
_NAN = 0x7FC00000
_SIGN = 0x80000000


def decoded(code: Expr, encoding: FloatEncoding) -> Expr:
    """The float32 of a code: one of the low bits of a uint8."""
    if not encoding.signed:
        return let(code.astype("int32"), _power_of_two)
    return let(code.astype("int32"), lambda c: _decoded(c, encoding))


def encoded(value: Expr, encoding: FloatEncoding) -> Expr:
    """The code of a float32, as uint8: that of the nearest number, ties to even."""
    if not encoding.signed:
        return let(tirx.reinterpret("int32", value), _nearest_power_of_two)
    return let(tirx.reinterpret("uint32", value), lambda bits: _encoded(bits, encoding))


def converted(value: Expr, encoding: FloatEncoding, saturate: bool, round_mode: str) -> Expr:
    """A number of any type as a float32 from which `encoded` makes what ONNX's Cast is to give.

    saturate: whether 8-bit floats become the largest number where they are beyond it; infinities, or NaN, if not.
    round_mode: of powers of two: "up", "down" or "nearest", of which ties go up.
    """
    if not encoding.signed:
        return let(value.astype("float64"), lambda v: _to_power_of_two(v, encoding, saturate, round_mode))
    return saturated(single(value), encoding) if saturate else single(value)


def single(value: Expr) -> Expr:
    """A number of any type as a float32 that may be rounded again, to fewer bits, as if it was not rounded before."""
    return let(value, _rounded_to_odd) if dtype_of(value) == "float64" else value.astype("float32")


def saturated(value: Expr, encoding: FloatEncoding) -> Expr:
    """A float32 cut down to the numbers of an 8-bit format, infinities too; NaN stays NaN. Others as they are."""
    if encoding.bits != 8:
        return value
    limit, least = constant(encoding.maximum, "float32"), constant(-encoding.maximum, "float32")
    return let(smaller(value, limit), lambda v: tirx.Select(v < least, least, v))


def _rounded_to_odd(value: Expr) -> Expr:
    """A float64 as float32, the last bit of which is set where any is lost: it can be rounded again (S. Boldo and
    G. Melquiond, When double rounding is odd, 2005)."""
    bits = tirx.reinterpret("uint64", value)
    lost = (1 << 29) - 1
    sticky = tirx.Select(tirx.EQ(bits & _u64(lost), _u64(0)), _u64(0), _u64(lost + 1))
    return tirx.reinterpret("float64", (bits & _u64(2**64 - 1 - lost)) | sticky).astype("float32")


def _to_power_of_two(value: Expr, encoding: FloatEncoding, saturate: bool, round_mode: str) -> Expr:
    """The magnitude of a float64 rounded to a power of two; what no code is for becomes the nearest that has one if
    `saturate`, else NaN."""
    least, most = (constant(2.0**power, "float64") for power in (-encoding.bias, encoding.bias))
    up = {"up": (1 << 52) - 1, "nearest": 1 << 51, "down": 0}[round_mode]

    def rounded(magnitude: Expr) -> Expr:
        bits = (tirx.reinterpret("int64", magnitude) + _i64(up)) & _i64(0x7FF << 52)
        power = tirx.reinterpret("float64", bits).astype("float32")
        is_number = tirx.And(magnitude >= least, magnitude <= most)
        return tirx.Select(is_number, power, constant(math.nan, "float32"))

    magnitude = tirx.abs(value)
    if not saturate:
        return let(magnitude, rounded)
    limited = let(smaller(magnitude, most), lambda v: tirx.Select(v < least, least, v))
    return let(limited, rounded)


def _decoded(code: Expr, encoding: FloatEncoding) -> Expr:
    sign_bit = 1 << (encoding.bits - 1)
    sign = (code & _i32(sign_bit)).astype("uint32") << _u32(32 - encoding.bits)

    def signed(magnitude: Expr) -> Expr:
        found = tirx.reinterpret("uint32", _magnitude(magnitude, encoding)) | sign
        if encoding.specials == "fnuz":
            found = tirx.Select(tirx.EQ(code & _i32(0xFF), _i32(sign_bit)), _u32(_NAN), found)
        return tirx.reinterpret("float32", found)

    return let(code & _i32(sign_bit - 1), signed)


def _magnitude(code: Expr, encoding: FloatEncoding) -> Expr:
    """The bits of the float32, as int32, of a code without its sign."""
    shift = _i32(_MANTISSA - encoding.mantissa)
    step = constant(2.0 ** (1 - encoding.bias - encoding.mantissa), "float32")
    subnormal = tirx.reinterpret("int32", code.astype("float32") * step)
    normal = (code << shift) + _i32((_BIAS - encoding.bias) << _MANTISSA)
    found = tirx.Select(code < _i32(1 << encoding.mantissa), subnormal, normal)
    if encoding.specials == "ieee":
        return tirx.Select(code > _i32(encoding.largest), (code << shift) | _i32(_INFINITY), found)
    if encoding.specials == "fn":
        return tirx.Select(code > _i32(encoding.largest), _i32(_NAN), found)
    return found


def _encoded(bits: Expr, encoding: FloatEncoding) -> Expr:
    sign = (bits >> _u32(32 - encoding.bits)).astype("int32") & _i32(1 << (encoding.bits - 1))

    def code(magnitude: Expr) -> Expr:
        is_nan = magnitude > _i32(_INFINITY)
        finite = tirx.Min(magnitude, _i32(_INFINITY))  # NaNs would leave the range of int32
        return let(_nearest(finite, encoding), lambda n: _with_sign(n, sign, is_nan, magnitude, encoding))

    return let((bits & _u32(_SIGN - 1)).astype("int32"), code).astype("uint8")


def _nearest(magnitude: Expr, encoding: FloatEncoding) -> Expr:
    """The code nearest to a finite magnitude, as if there were no largest."""
    shift = _MANTISSA - encoding.mantissa
    odd = (magnitude >> _i32(shift)) & _i32(1)
    normal = ((magnitude + (odd + _i32((1 << (shift - 1)) - 1))) >> _i32(shift)) - _i32(
        (_BIAS - encoding.bias) << encoding.mantissa
    )
    # a float32 of which the last bit is the least number: the sum is rounded to a multiple of that
    ruler = 2.0 ** (_MANTISSA + 1 - encoding.bias - encoding.mantissa)
    summed = tirx.reinterpret("float32", magnitude) + constant(ruler, "float32")
    subnormal = tirx.reinterpret("int32", summed) - _i32((int(math.log2(ruler)) + _BIAS) << _MANTISSA)
    return tirx.Select(magnitude < _i32((_BIAS + 1 - encoding.bias) << _MANTISSA), subnormal, normal)


def _with_sign(nearest: Expr, sign: Expr, is_nan: Expr, magnitude: Expr, encoding: FloatEncoding) -> Expr:
    """The whole code. NaN is the code above the largest; where that does not exist, ml_dtypes has a zero."""
    beyond = _i32(encoding.beyond)
    limited = tirx.Select(nearest > _i32(encoding.largest), beyond, nearest)
    if encoding.specials == "fnuz":
        no_sign = tirx.Or(is_nan, tirx.Or(tirx.EQ(nearest, _i32(0)), nearest > _i32(encoding.largest)))
        return tirx.Select(is_nan, beyond, limited) | tirx.Select(no_sign, _i32(0), sign)
    if encoding.specials == "finite":
        return tirx.Select(is_nan, _i32(encoding.largest + 1), limited) ^ sign
    if encoding.specials == "fn":
        return tirx.Select(is_nan, beyond, limited) | sign
    payload = (magnitude >> _i32(_MANTISSA - encoding.mantissa)) & _i32((1 << (encoding.bits - 1)) - 1)
    return tirx.Select(is_nan, payload | _i32(1 << (encoding.mantissa - 1)), limited) | sign


def _power_of_two(exponent: Expr) -> Expr:
    """2^(exponent - 127), NaN for 255. The first is a subnormal float32."""
    positive = tirx.Select(tirx.EQ(exponent, _i32(0)), _i32(1 << (_MANTISSA - 1)), exponent << _i32(_MANTISSA))
    return tirx.reinterpret("float32", tirx.Select(exponent > _i32(254), _i32(_NAN), positive))


def _nearest_power_of_two(bits: Expr) -> Expr:
    """Its exponent; ties go up, as in ml_dtypes. NaN for zero and what is negative."""
    half = 1 << (_MANTISSA - 1)
    normal = (tirx.Min(bits, _i32(_INFINITY)) + _i32(half)) >> _i32(_MANTISSA)
    subnormal = tirx.Select(bits < _i32(3 * half // 2), _i32(0), _i32(1))
    found = tirx.Select(bits < _i32(1 << _MANTISSA), subnormal, normal)
    return tirx.Select(bits > _i32(0), found, _i32(255)).astype("uint8")


def _i32(value: int) -> Expr:
    return tirx.const(value, "int32")


def _i64(value: int) -> Expr:
    return tirx.const(value, "int64")


def _u64(value: int) -> Expr:
    return tirx.const(value, "uint64")


def _u32(value: int) -> Expr:
    return tirx.const(value, "uint32")
