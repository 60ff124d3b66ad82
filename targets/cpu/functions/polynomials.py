"""Elementary functions in float32 as branch-free expressions that LLVM keeps in vector registers.

LLVM turns `llvm.exp` and its like on vectors into one libm call an element. These are polynomials and
rational functions instead, with a relative error below 5e-7 over the whole range; infinities and NaN come out
as in libm, and results that would be denormal may become zero. The coefficients are minimax fits (Lawson's
iteration in float64).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from tvm import tirx
from tvm.ir import Expr

from dsc.lower.floats import f32
from dsc.lower.tensors import let

_INF = float("inf")
_SQRT_HALF_BITS = 0x3F3504F3
_MAGIC, _MAGIC_BITS = 12582912.0, 0x4B400000
"""1.5 * 2^23: added to a number, it leaves the nearest integer in the low bits."""
_TINY = 1.17549435e-38
"""The smallest normal float32."""

_EXP = (0.49999201755408934, 0.166671332177513, 0.041894499612539195, 0.008312049576917748)
_NEAR_EXP2 = (1.0, 0.6932829336416744, 0.24221100272847382, 0.055008914620969414)
"""Of a minimax fit that is 1 at 0, between -1/2 and 1/2."""
_LOG = (
    0.33333331707804653, -0.2500082103550091, 0.20001226865407631, -0.16623357298100802,
    0.14201758233753667, -0.1316018306259108, 0.1276157564383496, -0.07634493024061834,
)  # fmt: skip
_TANH_P = (
    0.9999999795111023, 0.13381007221874008, 0.0034955661299661766,
    2.0608720630394706e-05, 1.3354167255760403e-08,
)  # fmt: skip
_TANH_Q = (1.0, 0.4671432284413725, 0.025876898745453406, 0.00032855988050246523, 7.776354277146171e-07)
_ERF_P = (
    1.128379143813504, 0.19154116578062255, 0.05287409334286618,
    0.0038077331581233722, 0.0002846723523485699, 2.025902423374221e-06,
)  # fmt: skip
_ERF_Q = (
    1.0, 0.5030816158529227, 0.11455571553187978,
    0.015054231681132053, 0.0011706113872076475, 3.783093918516724e-05,
)  # fmt: skip


def exp(x: Expr) -> Expr:
    """e^x."""
    return let(x, _exp)


def near_exp(x: Expr) -> Expr:
    """e^x of what is not positive, up to 1.1e-4 of itself off: a tenth of what rounding to bfloat16 makes of it, where
    that follows. 1 of 0; results below the smallest normal float32 may become zero, NaN stays."""
    return let(tirx.Max(f32(-127), x * f32(1 / math.log(2))), _near_exp2)


def log(x: Expr) -> Expr:
    """The natural logarithm: -inf of 0, NaN below."""
    return let(x, _log)


def log1p(x: Expr) -> Expr:
    """log(1 + x): -inf of -1, NaN below."""
    return let(x, _log1p)


def tanh(x: Expr) -> Expr:
    """The hyperbolic tangent."""
    return _odd_rational(x, 8.988, _TANH_P, _TANH_Q)


def erf(x: Expr) -> Expr:
    """The error function."""
    return _odd_rational(x, 3.94, _ERF_P, _ERF_Q)


def _horner(x: Expr, coefficients: Sequence[float]) -> Expr:
    """The polynomial of x; `coefficients` from the constant term up."""
    result = f32(coefficients[-1])
    for c in reversed(coefficients[:-1]):
        result = result * x + f32(c)
    return result


def _clamp(x: Expr, low: float, high: float) -> Expr:
    """x within [low, high]; NaN stays NaN. x is mentioned once."""
    return tirx.Min(f32(high), tirx.Max(f32(low), x))


def _exp(x: Expr) -> Expr:
    """2^n * e^r with n = round(x / ln 2).

    Adding 1.5 * 2^23 rounds to an integer and leaves it in the low bits, safe for NaN. The scale is 2^(n-1),
    the polynomial doubled, so that n = 128 (results close to the largest float) needs no case of its own.
    """

    def of(clamped: Expr) -> Expr:
        return let(_bits(clamped * f32(1 / math.log(2)) + f32(_MAGIC)), lambda bits: reduced(clamped, bits))

    def reduced(clamped: Expr, bits: Expr) -> Expr:
        scale = (bits - tirx.const(_MAGIC_BITS - 126, "int32")) << tirx.const(23, "int32")
        return let(_float(bits) - f32(_MAGIC), lambda n: series(_minus_ln2(clamped, n))) * _float(scale)

    def series(r: Expr) -> Expr:
        doubled = [2.0, 2.0, *(2 * c for c in _EXP)]
        return let(r, lambda v: _horner(v, doubled))

    return let(_clamp(x, -87.6, 88.8), of)


def _near_exp2(x: Expr) -> Expr:
    """2^n * 2^f with n = round(x), as `_exp`; 2^-127 is 0 as a float's exponent says it."""

    def of(bits: Expr) -> Expr:
        scale = (bits - tirx.const(_MAGIC_BITS - 127, "int32")) << tirx.const(23, "int32")
        return let(x - (_float(bits) - f32(_MAGIC)), lambda f: _horner(f, _NEAR_EXP2)) * _float(scale)

    return let(_bits(x + f32(_MAGIC)), of)


def _bits(value: Expr) -> Expr:
    """The bits of a float32."""
    return tirx.reinterpret("int32", value)


def _float(bits: Expr) -> Expr:
    """The float32 of some bits."""
    return tirx.reinterpret("float32", bits)


def _minus_ln2(x: Expr, n: Expr) -> Expr:
    """x - n ln 2, with ln 2 in two parts of which the first times n is exact."""
    return x - n * f32(0.693359375) - n * f32(-2.12194440e-4)


def _log(x: Expr) -> Expr:
    """e ln 2 + log(1 + f), with x = 2^e (1 + f) and f between sqrt(1/2) - 1 and sqrt(2) - 1."""
    tiny = tirx.LT(x, f32(_TINY))
    scaled = tirx.Select(tiny, x * f32(2.0**23), x)

    def of(bits: Expr) -> Expr:
        e = (bits - tirx.const(_SQRT_HALF_BITS, "int32")) >> tirx.const(23, "int32")
        return let(e, lambda e: split(e, _float(bits - (e << tirx.const(23, "int32")))))

    def split(e: Expr, mantissa: Expr) -> Expr:
        exponent = e.astype("float32") - tirx.Select(tiny, f32(23), f32(0))
        return let(exponent, lambda n: let(mantissa - f32(1), lambda f: series(n, f)))

    def series(n: Expr, f: Expr) -> Expr:
        low = let(f * f, lambda s: s * (f * _horner(f, _LOG) - f32(0.5))) + n * f32(-2.12194440e-4)
        return n * f32(0.693359375) + (f + low)

    finite = tirx.Select(tirx.LT(x, f32(_INF)), let(_bits(scaled), of), x)
    at_most_zero = tirx.Select(tirx.EQ(x, f32(0)), f32(-_INF), f32(float("nan")))
    return tirx.Select(tirx.GT(x, f32(0)), finite, at_most_zero)


def _log1p(x: Expr) -> Expr:
    """log(1 + x); what the rounding of 1 + x loses is added to first order."""

    def of(u: Expr) -> Expr:
        regular = tirx.And(tirx.GT(u, f32(0)), tirx.LT(u, f32(_INF)))
        return _log(u) + tirx.Select(regular, (x - (u - f32(1))) / u, f32(0))

    return let(_bits(f32(1) + x), lambda bits: let(_float(bits), of))


def _odd_rational(x: Expr, bound: float, p: Sequence[float], q: Sequence[float]) -> Expr:
    """x P(x^2) / Q(x^2) of x limited to [-bound, bound], beyond which the function is 1 in float32.

    `bound` is one of the numbers there at which the quotient, too, is exactly 1, with and without fused multiply-adds:
    Gelu takes the difference to 1 times x.
    """
    return let(_clamp(x, -bound, bound), lambda v: let(v * v, lambda s: v * _horner(s, p) / _horner(s, q)))
