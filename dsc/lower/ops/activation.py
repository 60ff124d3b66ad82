"""Activation functions."""

from __future__ import annotations

import math
from collections.abc import Callable

from tvm import te, tirx
from tvm.ir import Expr

from dsc.ir import onnx
from dsc.lower import composed, functions
from dsc.lower.registry import Call, lowers
from dsc.lower.tensors import const_like, elementwise, let

Activation = Callable[[Call], Callable[[Expr], Expr]]


def activation(op_type: type[onnx.OnnxOp]) -> Callable[[Activation], Activation]:
    """Registers a function that, given the call, gives the activation of one element."""

    def register(make: Activation) -> Activation:
        def lower(call: Call) -> te.Tensor:
            name = call.name.lower()
            function = make(call)
            return elementwise(lambda x: let(x, function), call.inputs[0], name=name)

        lowers(op_type)(lower)
        return make

    return register


def _positive(x: Expr) -> Expr:
    return tirx.GT(x, const_like(0, x))


@activation(onnx.LeakyRelu)
def leaky_relu(call: Call) -> Callable[[Expr], Expr]:
    """X where positive, alpha x below."""
    return lambda x: tirx.Select(_positive(x), x, x * const_like(call.attr("alpha"), x))


@activation(onnx.Elu)
def elu(call: Call) -> Callable[[Expr], Expr]:
    """X where positive, alpha (e^x - 1) below."""
    return lambda x: _elu(x, call.attr("alpha"), 1.0, 1.0)


@activation(onnx.Celu)
def celu(call: Call) -> Callable[[Expr], Expr]:
    """X where positive, alpha (e^(x / alpha) - 1) below."""
    return lambda x: _elu(x, call.attr("alpha"), 1.0, 1.0 / call.attr("alpha"))


@activation(onnx.Selu)
def selu(call: Call) -> Callable[[Expr], Expr]:
    """Gamma times Elu."""
    return lambda x: _elu(x, call.attr("alpha") * call.attr("gamma"), call.attr("gamma"), 1.0)


def _elu(x: Expr, below: float, above: float, inner: float) -> Expr:
    one = const_like(1, x)
    negative = (functions.exp(x if inner == 1 else x * const_like(inner, x)) - one) * const_like(below, x)
    return tirx.Select(_positive(x), x if above == 1 else x * const_like(above, x), negative)


@activation(onnx.Gelu)
def gelu(call: Call) -> Callable[[Expr], Expr]:
    """x / 2 (1 + erf(x / sqrt 2)), or its tanh approximation, which is x sigmoid(2 y): both are 0 far below 0."""

    def exact(x: Expr) -> Expr:
        half = const_like(0.5, x)
        return x * tirx.Max(const_like(0, x), functions.erf(x * const_like(math.sqrt(0.5), x)) * half + half)

    def by_tanh(x: Expr) -> Expr:
        slope = 2 * math.sqrt(2 / math.pi)
        return x * composed.sigmoid(x * (const_like(slope, x) + x * x * const_like(slope * 0.044715, x)))

    return by_tanh if call.attr("approximate") == "tanh" else exact


@activation(onnx.HardSigmoid)
def hard_sigmoid(call: Call) -> Callable[[Expr], Expr]:
    """Alpha x + beta, limited to [0, 1]."""
    return lambda x: _hard_sigmoid(x, call.attr("alpha"), call.attr("beta"))


@activation(onnx.HardSwish)
def hard_swish(_: Call) -> Callable[[Expr], Expr]:
    """X limited(x / 6 + 1 / 2)."""
    return lambda x: x * _hard_sigmoid(x, 1 / 6, 0.5)


def _hard_sigmoid(x: Expr, alpha: float, beta: float) -> Expr:
    if math.isclose(alpha, 1 / 6, rel_tol=1e-6) and beta == 0.5:
        # x + 3 is exact where x / 6 + 1 / 2 cancels, and is what models have that write the activation out
        above = tirx.Max(const_like(0, x), x + const_like(3, x))
        return tirx.Min(const_like(6, x), above) * const_like(1 / 6, x)
    line = x * const_like(alpha, x) + const_like(beta, x)
    return tirx.Min(const_like(1, x), tirx.Max(const_like(0, x), line))


@activation(onnx.Mish)
def mish(_: Call) -> Callable[[Expr], Expr]:
    """X tanh(softplus(x)); with e = e^x that is x (e^2 + 2e) / (e^2 + 2e + 2), and x itself from 20 on."""

    def element(x: Expr) -> Expr:
        two = const_like(2, x)
        grown = let(functions.exp(tirx.Min(const_like(20, x), x)), lambda e: e * (e + two))
        return let(grown, lambda w: x * (w / (w + two)))

    return element


@activation(onnx.Softsign)
def softsign(_: Call) -> Callable[[Expr], Expr]:
    """X / (1 + |x|)."""
    return lambda x: x / (const_like(1, x) + tirx.abs(x))


@activation(onnx.Swish)
def swish(call: Call) -> Callable[[Expr], Expr]:
    """X sigmoid(alpha x)."""
    alpha = call.attr("alpha")
    return lambda x: x * composed.sigmoid(x if alpha == 1 else x * const_like(alpha, x))


@activation(onnx.ThresholdedRelu)
def thresholded_relu(call: Call) -> Callable[[Expr], Expr]:
    """X above alpha, else 0."""
    return lambda x: tirx.Select(tirx.GT(x, const_like(call.attr("alpha"), x)), x, const_like(0, x))


@lowers(onnx.Shrink)
def shrink(call: Call) -> te.Tensor:
    """X moved towards zero by `bias` outside [-lambd, lambd], else 0."""
    limit, bias = call.attr("lambd"), call.attr("bias")

    def element(x: Expr) -> Expr:
        wide = x.astype("float32") if "int" in str(x.expr_ty()) else x
        shift, zero = const_like(bias, wide), const_like(0, wide)
        above = tirx.Select(tirx.GT(wide, const_like(limit, wide)), wide - shift, zero)
        return tirx.Select(tirx.LT(wide, const_like(-limit, wide)), wide + shift, above).astype(x.expr_ty())

    return elementwise(element, call.inputs[0], name="shrink", bind=True)


@lowers(onnx.PRelu)
def prelu(call: Call) -> te.Tensor:
    """X where positive, slope x below; the slope broadcasts."""

    def element(x: Expr, slope: Expr) -> Expr:
        return tirx.Select(tirx.LT(x, const_like(0, x)), x * slope, x)

    return elementwise(element, *call.inputs, name="prelu", bind=True)
