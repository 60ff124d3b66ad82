"""Elementary functions and powers."""

from __future__ import annotations

import math
from collections.abc import Callable

from tvm import te, tirx
from tvm.ir import Expr

from dsc.ir import onnx
from dsc.lower import approx
from dsc.lower.registry import Call, UnsupportedOpError, lowers
from dsc.lower.tensors import const_like, dtype_of, elementwise, is_float

_FUNCTIONS: dict[str, Callable[[Expr], Expr]] = {
    "Exp": approx.exp,
    "Log": approx.log,
    "Tanh": approx.tanh,
    "Erf": approx.erf,
    "Sigmoid": approx.sigmoid,
    "Softplus": approx.log1p_exp,
    "Sqrt": tirx.sqrt,
    "Floor": tirx.floor,
    "Ceil": tirx.ceil,
    "Round": tirx.nearbyint,
}

_LIBM: dict[str, Callable[[Expr], Expr]] = {
    "Sin": tirx.sin,
    "Cos": tirx.cos,
    "Tan": tirx.tan,
    "Sinh": tirx.sinh,
    "Cosh": tirx.cosh,
    "Asin": tirx.asin,
    "Acos": tirx.acos,
    "Atan": tirx.atan,
    "Asinh": tirx.asinh,
    "Acosh": tirx.acosh,
    "Atanh": tirx.atanh,
}


@lowers(*(onnx.OPS[name] for name in _FUNCTIONS))
def function(call: Call) -> te.Tensor:
    """result = f(x), in vector registers."""
    name = call.name
    return elementwise(_FUNCTIONS[name], call.inputs[0], name=name.lower())


@lowers(*(onnx.OPS[name] for name in _LIBM))
def libm(call: Call) -> te.Tensor:
    """result = f(x), by a libm call for each element."""
    name = call.name

    def element(x: Expr) -> Expr:
        return approx.in_float32(_LIBM[name], _LIBM[name], x)

    return elementwise(element, call.inputs[0], name=name.lower())


@lowers(onnx.Reciprocal)
def reciprocal(call: Call) -> te.Tensor:
    """1 / x."""
    return elementwise(lambda x: const_like(1, x) / x, call.inputs[0], name="reciprocal")


@lowers(onnx.Pow)
def power(call: Call) -> te.Tensor:
    """x ** y in the type of x; products and roots where y is a suitable constant."""
    base, exponent = call.inputs
    constant = call.known[1]
    if constant is not None and constant.size == 1:
        number = float(constant.reshape(-1)[0])
        if not is_float(base) and number in (1, 2, 3):
            return elementwise(lambda x: _product(x, int(number)), base, name="pow", bind=True)
        return elementwise(lambda x, _: approx.power(x, number), base, exponent, name="pow")
    wide = "float32" if dtype_of(base) in ("float16", "float32") else "float64"

    def element(x: Expr, y: Expr) -> Expr:
        return tirx.pow(x.astype(wide), y.astype(wide)).astype(base.dtype)

    return elementwise(element, base, exponent, name="pow")


def _product(x: Expr, times: int) -> Expr:
    return x if times == 1 else x * _product(x, times - 1)


@lowers(onnx.Det)
def det(call: Call) -> te.Tensor:
    """Determinants of 1x1, 2x2 and 3x3 matrices."""
    x = call.inputs[0]
    size = int(x.shape[-1])
    minors = {1: _det1, 2: _det2, 3: _det3}
    if size not in minors:
        raise UnsupportedOpError(f"determinants of {size}x{size} matrices are not supported, only up to 3x3")
    return te.compute(x.shape[:-2], lambda *i: minors[size](lambda r, c: x(*i, r, c)), name="det")


def _det1(at: Callable[[int, int], Expr]) -> Expr:
    return at(0, 0)


def _det2(at: Callable[[int, int], Expr]) -> Expr:
    return at(0, 0) * at(1, 1) - at(0, 1) * at(1, 0)


def _det3(at: Callable[[int, int], Expr]) -> Expr:
    def minor(a: int, b: int) -> Expr:
        return at(1, a) * at(2, b) - at(1, b) * at(2, a)

    return at(0, 0) * minor(1, 2) - at(0, 1) * minor(0, 2) + at(0, 2) * minor(0, 1)


WINDOWS: dict[str, tuple[float, ...]] = {
    "HannWindow": (0.5, 0.5),
    "HammingWindow": (25 / 46, 21 / 46),
    "BlackmanWindow": (0.42, 0.5, 0.08),
}
"""Coefficients of the cosines, with alternating signs."""


@lowers(onnx.HannWindow, onnx.HammingWindow, onnx.BlackmanWindow, values=[0])
def window(call: Call) -> te.Tensor:
    """A window of cosines; periodic ones are one longer than they show."""
    (size,) = call.sizes(0)
    steps = size if call.attr("periodic", 1) else size - 1
    terms = WINDOWS[call.name]

    def element(i: Expr) -> Expr:
        angle = i.astype("float64") * tirx.const(2 * math.pi, "float64") / tirx.Cast("float64", steps)
        value = tirx.const(terms[0], "float64")
        for k, a in enumerate(terms[1:], 1):
            value = value + tirx.cos(angle * const_like(k, angle)) * const_like(-a if k % 2 else a, angle)
        return value.astype(call.dtype())

    return te.compute((size,), element, name="window")


@lowers(onnx.BitCast)
def bit_cast(call: Call) -> te.Tensor:
    """The same bits as another type of the same width."""
    stored = "uint8" if dtype_of(call.inputs[0]) == "bool" else dtype_of(call.inputs[0])
    return elementwise(lambda x: tirx.reinterpret(call.dtype(), x.astype(stored)), call.inputs[0], name="bitcast")
