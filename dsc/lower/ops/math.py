"""Elementary functions and powers."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from tvm import te, tirx
from tvm.ir import Expr
from tvm.script.ir_builder import IRBuilder
from tvm.script.ir_builder import tirx as T

from dsc.ir import onnx
from dsc.lower import composed, functions, integers
from dsc.lower.exprs import product
from dsc.lower.registry import Call, UnsupportedOpError, lowers
from dsc.lower.tensors import (
    broadcast_index,
    broadcast_shape,
    const_like,
    dtype_of,
    elementwise,
    is_float,
    let,
    unravel,
)

_FUNCTIONS: dict[str, Callable[[Expr], Expr]] = {
    "Sigmoid": composed.sigmoid,
    "Softplus": composed.softplus,
    "Sqrt": tirx.sqrt,
    "Floor": tirx.floor,
    "Ceil": tirx.ceil,
    "Round": tirx.nearbyint,
}

_ELEMENTARY = (
    *("Exp", "Log", "Erf", "Sin", "Cos", "Tan", "Asin", "Acos", "Atan"),
    *("Sinh", "Cosh", "Tanh", "Asinh", "Acosh", "Atanh"),
)


@lowers(*(onnx.OPS[name] for name in _FUNCTIONS))
def function(call: Call) -> te.Tensor:
    """result = f(x), of what TVM knows and what is made of other functions."""
    name = call.name
    return elementwise(_FUNCTIONS[name], call.inputs[0], name=name.lower())


@lowers(*(onnx.OPS[name] for name in _ELEMENTARY))
def elementary(call: Call) -> te.Tensor:
    """result = f(x), however the machine computes f."""
    name = call.name.lower()
    return elementwise(lambda x: functions.function(name, x), call.inputs[0], name=name)


@lowers(onnx.Reciprocal)
def reciprocal(call: Call) -> te.Tensor:
    """1 / x."""
    return elementwise(lambda x: const_like(1, x) / x, call.inputs[0], name="reciprocal")


@lowers(onnx.Pow)
def power(call: Call) -> te.Tensor:
    """x ** y in the type of x; products and roots where y is a suitable constant."""
    base, exponent = call.inputs
    constant = call.known[1]
    number = float(constant.reshape(-1)[0]) if constant is not None and constant.size == 1 else None
    if not is_float(base):
        return _integer_power(base, exponent, number)
    if number is not None:
        return elementwise(lambda x, _: composed.power(x, number), base, exponent, name="pow")
    return elementwise(lambda x, y: functions.pow(x, y.astype(dtype_of(x))), base, exponent, name="pow")


def _integer_power(base: te.Tensor, exponent: te.Tensor, number: float | None) -> te.Tensor:
    """Exact modulo 2^bits where the exponent is an integer; what double makes of it otherwise."""
    if number is not None and number.is_integer() and 0 <= number <= MAX_SQUARED:
        return elementwise(lambda x, _: _product(x, int(number)), base, exponent, name="pow", bind=True)
    if is_float(exponent):

        def by_double(x: Expr, y: Expr) -> Expr:
            return integers.converted(functions.pow(x.astype("float64"), y.astype("float64")), dtype_of(base))

        return elementwise(by_double, base, exponent, name="pow")
    return _by_squaring(base, exponent)


MAX_SQUARED = 8
"""Larger constant exponents of integers are not written out as products."""


def _product(x: Expr, times: int) -> Expr:
    """X ** times, by squaring."""
    if times < 2:
        return x if times else const_like(1, x)
    return let(_product(x, times // 2), lambda half: _squared(half, x if times % 2 else None))


def _squared(half: Expr, factor: Expr | None) -> Expr:
    square = integers.mul(half, half)
    return square if factor is None else let(square, lambda s: integers.mul(s, factor))


def _by_squaring(base: te.Tensor, exponent: te.Tensor) -> te.Tensor:
    """X ** y of integers: a loop over the bits of y, the highest first.

    Of a negative y it is the whole part of 1 / x ** -y, where only 1 and -1 leave anything.
    """
    shape = broadcast_shape(base.shape, exponent.shape)
    signed = not dtype_of(exponent).startswith("u")
    bits = int(dtype_of(exponent).lstrip("uint")) - signed

    def body(ins: Sequence[tirx.Buffer], outs: Sequence[tirx.Buffer]) -> tirx.Stmt:
        with IRBuilder() as builder:
            with T.serial(0, product(shape)) as flat:
                at = unravel(flat, shape)
                x, y = (b[tuple(broadcast_index(b.shape, shape, at))] for b in ins)
                one = const_like(1, x)
                with T.seq_scope():
                    T.buffer_store(outs[0], one, at)
                    with T.serial(0, bits) as k:
                        shift = tirx.const(bits - 1, dtype_of(y)) - k.astype(dtype_of(y))
                        with T.seq_scope():
                            out = outs[0][tuple(at)]
                            T.buffer_store(outs[0], integers.mul(out, out), at)
                            T.buffer_store(outs[0], tirx.Select(_odd(y >> shift), integers.mul(out, x), out), at)
                    if signed:
                        T.buffer_store(outs[0], tirx.Select(y < const_like(0, y), _unit(x, y), out), at)
            return builder.get()

    return te.extern([shape], [base, exponent], body, dtype=dtype_of(base), name="pow")


def _odd(x: Expr) -> Expr:
    return tirx.NE(x & const_like(1, x), const_like(0, x))


def _unit(x: Expr, y: Expr) -> Expr:
    """1 ** y, (-1) ** y, and 0 for all others."""
    one, zero = const_like(1, x), const_like(0, x)
    found = tirx.Select(tirx.EQ(x, one), one, zero)
    if dtype_of(x).startswith("u"):
        return found
    minus_one = const_like(-1, x)
    return tirx.Select(tirx.EQ(x, minus_one), tirx.Select(_odd(y), minus_one, one), found)


@lowers(onnx.Det)
def det(call: Call) -> te.Tensor:
    """Determinants of 1x1, 2x2 and 3x3 matrices."""
    x = call.inputs[0]
    size = call.static(0, -1)
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
            value = value + functions.cos(angle * const_like(k, angle)) * const_like(-a if k % 2 else a, angle)
        return value.astype(call.dtype())

    return te.compute((size,), element, name="window")


@lowers(onnx.BitCast, moves=True)
def bit_cast(call: Call) -> te.Tensor:
    """The same bits as another type of the same width."""
    stored = "uint8" if dtype_of(call.inputs[0]) == "bool" else dtype_of(call.inputs[0])
    return elementwise(lambda x: tirx.reinterpret(call.dtype(), x.astype(stored)), call.inputs[0], name="bitcast")
