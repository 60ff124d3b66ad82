"""Elementary functions in float32 as branch-free expressions that LLVM keeps in vector registers.

LLVM turns `llvm.exp` and its like on vectors into one libm call an element. These are polynomials and
rational functions instead, with a relative error below 5e-7 over the whole range; infinities and NaN come out
as in libm, and results that would be denormal may become zero. The coefficients are minimax fits (Lawson's
iteration in float64). float16 goes through float32; float64 keeps libm.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from tvm import tirx
from tvm.ir import Expr

from dsc.lower.floats import constant
from dsc.lower.tensors import const_like, dtype_of, let

_INF = float("inf")
_SQRT_HALF_BITS = 0x3F3504F3
_TINY = 1.17549435e-38
"""The smallest normal float32."""

_EXP = (0.49999201755408934, 0.166671332177513, 0.041894499612539195, 0.008312049576917748)
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


def f32(value: float) -> Expr:
    """A float32 constant."""
    return constant(value, "float32")


def in_float32(function: Callable[[Expr], Expr], exact: Callable[[Expr], Expr], x: Expr) -> Expr:
    """`function`, which is for float32 only, of x in any float type; `exact` for float64."""
    dtype = dtype_of(x)
    if dtype == "float64":
        return exact(x)
    return function(x) if dtype == "float32" else function(x.astype("float32")).astype(dtype)


def libm(name: str) -> Callable[[Expr], Expr]:
    """A function of C's library, called for each element. TVM has some of them as intrinsics, but not on vectors."""

    def of(x: Expr) -> Expr:
        dtype = dtype_of(x)
        return tirx.call_pure_extern(dtype, name if dtype == "float64" else f"{name}f", x)

    return of


def exp(x: Expr) -> Expr:
    """e^x."""
    return in_float32(lambda v: let(v, _exp), tirx.exp, x)


def log(x: Expr) -> Expr:
    """The natural logarithm: -inf of 0, NaN below."""
    return in_float32(lambda v: let(v, _log), tirx.log, x)


def tanh(x: Expr) -> Expr:
    """The hyperbolic tangent."""
    return in_float32(lambda v: _odd_rational(v, 8.988, _TANH_P, _TANH_Q), libm("tanh"), x)


def erf(x: Expr) -> Expr:
    """The error function."""
    return in_float32(lambda v: _odd_rational(v, 3.94, _ERF_P, _ERF_Q), libm("erf"), x)


def sigmoid(x: Expr) -> Expr:
    """1 / (1 + e^-x)."""
    return in_float32(lambda v: f32(1) / (f32(1) + exp(f32(0) - v)), tirx.sigmoid, x)


def log1p_exp(x: Expr) -> Expr:
    """log(1 + e^x), the softplus; exact to the last bits for very negative x too."""

    def of(v: Expr) -> Expr:
        return tirx.Max(f32(0), v) + let(exp(f32(0) - tirx.abs(v)), _log1p)

    def exact(v: Expr) -> Expr:
        return tirx.Max(constant(0, "float64"), v) + libm("log1p")(tirx.exp(-tirx.abs(v)))

    return in_float32(lambda v: let(v, of), exact, x)


def power(x: Expr, exponent: float) -> Expr:
    """x to a constant power: products and roots where it is a small multiple of 1/4, libm's pow otherwise."""
    if dtype_of(x) in ("float16", "bfloat16"):  # products of roots and powers would leave its range
        return power(x.astype("float32"), exponent).astype(dtype_of(x))
    quarters = abs(exponent) * 4
    if quarters > 64 or not quarters.is_integer() or "float" not in str(x.expr_ty()):
        dtype = str(x.expr_ty())
        wide = dtype if dtype in ("float32", "float64") else "float32" if "float" in dtype else "float64"
        return tirx.pow(x.astype(wide), constant(exponent, wide)).astype(dtype)
    return let(x, lambda v: _quarters(v, int(quarters), exponent < 0))


def _quarters(x: Expr, quarters: int, invert: bool) -> Expr:
    one = constant(1, str(x.expr_ty()))
    whole, rest = divmod(quarters, 4)
    if rest:  # such powers of -0 and -infinity are those of 0 and infinity
        x = tirx.Select(tirx.EQ(x, const_like(-_INF, x)), const_like(_INF, x), x + const_like(0, x))
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


def _horner(x: Expr, coefficients: Sequence[float]) -> Expr:
    """The polynomial of x; `coefficients` from the constant term up."""
    result = f32(coefficients[-1])
    for c in reversed(coefficients[:-1]):
        result = result * x + f32(c)
    return result


def clamp(x: Expr, low: float, high: float) -> Expr:
    """x within [low, high]; NaN stays NaN. x is mentioned once."""
    return tirx.Min(f32(high), tirx.Max(f32(low), x))


def _exp(x: Expr) -> Expr:
    """2^n * e^r with n = round(x / ln 2).

    Adding 1.5 * 2^23 rounds to an integer and leaves it in the low bits, safe for NaN. The scale is 2^(n-1),
    the polynomial doubled, so that n = 128 (results close to the largest float) needs no case of its own.
    """
    magic = 12582912.0
    bits_of_magic = 0x4B400000

    def of(clamped: Expr) -> Expr:
        return let(_bits(clamped * f32(1 / math.log(2)) + f32(magic)), lambda bits: reduced(clamped, bits))

    def reduced(clamped: Expr, bits: Expr) -> Expr:
        scale = (bits - tirx.const(bits_of_magic - 126, "int32")) << tirx.const(23, "int32")
        return let(_float(bits) - f32(magic), lambda n: series(_minus_ln2(clamped, n))) * _float(scale)

    def series(r: Expr) -> Expr:
        doubled = [2.0, 2.0, *(2 * c for c in _EXP)]
        return let(r, lambda v: _horner(v, doubled))

    return let(clamp(x, -87.6, 88.8), of)


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


def _log1p(t: Expr) -> Expr:
    """log(1 + t) for t >= 0; what the rounding of 1 + t loses is added to first order."""

    def of(u: Expr) -> Expr:
        return log(u) + (t - (u - f32(1))) / u

    return let(_bits(f32(1) + t), lambda bits: let(_float(bits), of))


def _odd_rational(x: Expr, bound: float, p: Sequence[float], q: Sequence[float]) -> Expr:
    """x P(x^2) / Q(x^2) of x limited to [-bound, bound], beyond which the function is 1 in float32.

    `bound` is one of the numbers there at which the quotient, too, is exactly 1, with and without fused multiply-adds:
    Gelu takes the difference to 1 times x.
    """
    return let(clamp(x, -bound, bound), lambda v: let(v * v, lambda s: v * _horner(s, p) / _horner(s, q)))
