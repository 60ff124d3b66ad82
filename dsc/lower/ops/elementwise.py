"""Arithmetic, comparisons, logic and bits: one broadcast element in, one out."""

from __future__ import annotations

import operator
from collections.abc import Callable

from tvm import te, tirx
from tvm.ir import Call as Called
from tvm.ir import Expr, Op

from dsc.elements import FloatEncoding
from dsc.ir import onnx
from dsc.lower import floats, functions, integers, minifloats
from dsc.lower.nearest import nearest
from dsc.lower.registry import Call, UnsupportedOpError, lowers
from dsc.lower.tensors import const_like, dtype_of, elementwise, is_float, let

_ROUNDING = Op.get("tirx.nearbyint")
_NEAREST = ("int8", "uint8", "int16", "uint16", "int32")
"""The types of integers to which int32 leads."""


def is_number(x: Expr) -> Expr:
    """Whether x is not NaN. (TVM's isnan breaks vectors.)"""
    return tirx.EQ(x, x)


def _comparable(x: Expr) -> Expr:
    """LLVM compares no single bits: they become bytes."""
    return x.astype("int8") if dtype_of(x) == "bool" else x


_BINARY: dict[str, Callable[[Expr, Expr], Expr]] = {
    "Add": integers.add,
    "Sub": integers.sub,
    "Mul": integers.mul,
    "Equal": lambda a, b: tirx.EQ(_comparable(a), _comparable(b)),
    "Greater": tirx.GT,
    "GreaterOrEqual": tirx.GE,
    "Less": tirx.LT,
    "LessOrEqual": tirx.LE,
    "And": tirx.And,
    "Or": tirx.Or,
    "Xor": lambda a, b: tirx.Or(tirx.And(a, tirx.Not(b)), tirx.And(b, tirx.Not(a))),
    "BitwiseAnd": operator.and_,
    "BitwiseOr": operator.or_,
    "BitwiseXor": operator.xor,
}

_UNARY: dict[str, Callable[[Expr], Expr]] = {
    "Neg": integers.negated,
    "Abs": integers.magnitude,
    "Not": tirx.Not,
    "BitwiseNot": operator.invert,
    "IsNaN": lambda x: tirx.NE(x, x),
    "Identity": lambda x: x,
}


@lowers(*(onnx.OPS[name] for name in _BINARY))
def binary(call: Call) -> te.Tensor:
    """result = a (op) b, numpy broadcasting."""
    name = call.name
    bind = name in ("Add", "Sub", "Mul") and not is_float(call.inputs[0])
    return elementwise(_BINARY[name], *call.inputs, name=name.lower(), bind=bind)


@lowers(*(onnx.OPS[name] for name in _UNARY))
def unary(call: Call) -> te.Tensor:
    """result = (op) x."""
    name = call.name
    return elementwise(_UNARY[name], *call.inputs, name=name.lower(), bind=name in ("Neg", "Abs"))


@lowers(onnx.Div)
def div(call: Call) -> te.Tensor:
    """a / b; integers truncate towards zero, and give 0 for a divisor of 0."""
    if is_float(call.inputs[0]):
        return elementwise(tirx.div, *call.inputs, name="div")
    return elementwise(integers.quotient, *call.inputs, name="div", bind=True)


@lowers(onnx.Mod)
def mod(call: Call) -> te.Tensor:
    """Python's a % b, or C's fmod(a, b) with fmod=1; 0 for integers and a divisor of 0."""
    if is_float(call.inputs[0]):
        return elementwise(functions.fmod if call.attr("fmod") else _float_mod, *call.inputs, name="mod", bind=True)
    remainder = integers.truncated_remainder if call.attr("fmod") else integers.remainder
    return elementwise(remainder, *call.inputs, name="mod", bind=True)


def _float_mod(a: Expr, b: Expr) -> Expr:
    """The remainder with the sign of b: fmod's, moved by b where the signs differ."""
    zero = const_like(0, a)

    def signed(r: Expr) -> Expr:
        differs = tirx.Or(tirx.And(r < zero, b > zero), tirx.And(r > zero, b < zero))
        signed_zero = tirx.Select(b < zero, const_like(-0.0, a), zero)
        return tirx.Select(differs, r + b, tirx.Select(tirx.EQ(r, zero), signed_zero, r))

    return let(functions.fmod(a, b), signed)


@lowers(onnx.BitShift)
def bit_shift(call: Call) -> te.Tensor:
    """a << b or a >> b; all bits are shifted out where b is negative or at least the width."""
    left = call.attr("direction") == "LEFT"
    bits = int(dtype_of(call.inputs[0]).lstrip("uint"))

    def shift(a: Expr, b: Expr) -> Expr:
        zero = const_like(0, a)
        signed = not dtype_of(a).startswith("u")
        inside = tirx.And(b >= zero, b < const_like(bits, b)) if signed else b < const_like(bits, b)
        count = tirx.Select(inside, b, zero)
        beyond = tirx.Select(a < zero, const_like(-1, a), zero) if signed and not left else zero
        return tirx.Select(inside, a << count if left else a >> count, beyond)

    return elementwise(shift, *call.inputs, name="bitshift", bind=True)


@lowers(onnx.Max, onnx.Min, onnx.Sum, onnx.Mean)
def variadic(call: Call) -> te.Tensor:
    """The largest, smallest, sum or mean of any number of tensors; NaN wins."""
    step = {"Max": floats.larger, "Min": floats.smaller}.get(call.name, operator.add)
    # constants first: whether the first is NaN takes a comparison, but of a constant
    order = sorted(range(len(call.inputs)), key=lambda i: call.known[i] is None)

    def fold(*elements: Expr) -> Expr:
        result = elements[order[0]]
        for position in order[1:]:
            result = step(result, elements[position])
        return result / const_like(len(elements), result) if call.name == "Mean" else result

    return elementwise(fold, *call.inputs, name=call.name.lower(), bind=call.name in ("Max", "Min"))


@lowers(onnx.Relu)
def relu(call: Call) -> te.Tensor:
    """max(0, x)."""
    return elementwise(lambda x: tirx.Max(const_like(0, x), x), call.inputs[0], name="relu")


@lowers(onnx.Clip)
def clip(call: Call) -> te.Tensor:
    """min(max, max(min, x)); either limit may be absent."""
    x, low, high = call.inputs
    shape = x.shape

    def element(*indices: Expr) -> Expr:
        value = x(*indices)
        if low is not None:
            value = tirx.Max(_scalar(low), value)
        return value if high is None else tirx.Min(_scalar(high), value)

    return te.compute(shape, element, name="clip")


def _scalar(tensor: te.Tensor) -> Expr:
    return tensor(*[0] * len(tensor.shape))


@lowers(onnx.Where, moves=True)
def where(call: Call) -> te.Tensor:
    """x where the condition holds, else y."""
    return elementwise(tirx.Select, *call.inputs, name="where")


@lowers(onnx.IsInf)
def is_inf(call: Call) -> te.Tensor:
    """Whether x is infinite, of the signs asked for."""
    signs = [float("inf")] * call.attr("detect_positive") + [float("-inf")] * call.attr("detect_negative")

    def element(x: Expr) -> Expr:
        found = tirx.const(False, "bool")
        for infinity in signs:
            found = tirx.Or(found, tirx.EQ(x, const_like(infinity, x)))
        return found

    return elementwise(element, call.inputs[0], name="isinf")


def _rounded(tensor: te.Tensor) -> te.Tensor | None:
    """The float32 tensor that `tensor` is, rounded; None where it is something else."""
    value = tensor.op.body[0] if isinstance(tensor.op, te.ComputeOp) else None
    if not isinstance(value, Called) or not value.op.same_as(_ROUNDING) or dtype_of(tensor) != "float32":
        return None
    return tensor.op.input_tensors[0]


@lowers(onnx.Cast, onnx.CastLike)
def cast_op(call: Call) -> te.Tensor:
    """x in another element type: floats truncate to integers, anything but zero is true."""
    target, encoding = call.dtype(), call.element().encoding
    if target == "bool":
        return elementwise(lambda x: tirx.NE(x, const_like(0, x)), call.inputs[0], name="cast")
    if isinstance(encoding, FloatEncoding):
        saturate, mode = bool(call.attr("saturate", 1)), call.attr("round_mode", "up")
        return elementwise(lambda x: minifloats.converted(x, encoding, saturate, mode), call.inputs[0], name="cast")
    if target in _NEAREST and (source := _rounded(call.inputs[0])) is not None:
        return elementwise(lambda x: nearest(x).astype(target), source, name="nearest")
    if call.element().stored == "float16":
        return elementwise(minifloats.single, call.inputs[0], name="cast")  # and rounded to half as all results are
    return elementwise(lambda x: integers.converted(x, target), call.inputs[0], name="cast")


@lowers(onnx.Sign)
def sign(call: Call) -> te.Tensor:
    """-1, 0 or 1; NaN of NaN."""

    def element(x: Expr) -> Expr:
        one, zero = const_like(1, x), const_like(0, x)
        other = tirx.Select(tirx.EQ(x, zero), zero, x) if is_float(x) else zero
        rest = other if "uint" in dtype_of(x) else tirx.Select(tirx.LT(x, zero), const_like(-1, x), other)
        return tirx.Select(tirx.GT(x, zero), one, rest)

    return elementwise(element, call.inputs[0], name="sign", bind=True)


@lowers(onnx.Dropout, values=[1, 2])
def dropout(call: Call) -> list[te.Tensor]:
    """Identity at inference, with a mask of all true."""
    if any(call.values(2)) and call.values(1) != [0.0]:
        raise UnsupportedOpError("dropout in training mode is random")
    data = call.inputs[0]
    kept = te.compute(data.shape, lambda *_: tirx.const(True, "bool"), name="mask")
    return [elementwise(lambda x: x, data, name="dropout"), kept]
