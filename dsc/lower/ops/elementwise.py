"""Arithmetic, comparisons, logic and bits: one broadcast element in, one out."""

from __future__ import annotations

import operator
from collections.abc import Callable

from tvm import te, tirx
from tvm.ir import Expr

from dsc.ir import onnx
from dsc.lower.registry import Call, UnsupportedOpError, lowers
from dsc.lower.tensors import cast, const_like, elementwise

_BINARY: dict[str, Callable[[Expr, Expr], Expr]] = {
    "Add": operator.add,
    "Sub": operator.sub,
    "Mul": operator.mul,
    "Equal": tirx.EQ,
    "Greater": tirx.GT,
    "GreaterOrEqual": tirx.GE,
    "Less": tirx.LT,
    "LessOrEqual": tirx.LE,
    "And": tirx.And,
    "Or": tirx.Or,
    "Xor": tirx.NE,
    "BitwiseAnd": operator.and_,
    "BitwiseOr": operator.or_,
    "BitwiseXor": operator.xor,
}

_UNARY: dict[str, Callable[[Expr], Expr]] = {
    "Neg": operator.neg,
    "Abs": tirx.abs,
    "Not": tirx.Not,
    "BitwiseNot": operator.invert,
    "IsNaN": tirx.isnan,
    "Identity": lambda x: x,
}


@lowers(*(onnx.OPS[name] for name in _BINARY))
def binary(call: Call) -> te.Tensor:
    """result = a (op) b, numpy broadcasting."""
    name = call.op.onnx_name
    return elementwise(_BINARY[name], *call.inputs, name=name.lower())


@lowers(*(onnx.OPS[name] for name in _UNARY))
def unary(call: Call) -> te.Tensor:
    """result = (op) x."""
    name = call.op.onnx_name
    return elementwise(_UNARY[name], *call.inputs, name=name.lower())


@lowers(onnx.Div)
def div(call: Call) -> te.Tensor:
    """a / b; integers truncate towards zero."""
    integral = "int" in call.inputs[0].dtype
    return elementwise(tirx.truncdiv if integral else tirx.div, *call.inputs, name="div")


@lowers(onnx.Mod)
def mod(call: Call) -> te.Tensor:
    """Python's a % b, or C's fmod(a, b) with fmod=1."""
    if call.attr("fmod"):
        integral = "int" in call.inputs[0].dtype
        return elementwise(tirx.truncmod if integral else _fmod, *call.inputs, name="mod")
    return elementwise(tirx.floormod, *call.inputs, name="mod")


def _fmod(a: Expr, b: Expr) -> Expr:
    if a.expr_ty() == "float16" or a.expr_ty() == "bfloat16":
        return tirx.fmod(a.astype("float32"), b.astype("float32")).astype(a.expr_ty())
    return tirx.fmod(a, b)


@lowers(onnx.BitShift)
def bit_shift(call: Call) -> te.Tensor:
    """a << b or a >> b of unsigned integers."""
    shift = operator.lshift if call.attr("direction") == "LEFT" else operator.rshift
    return elementwise(shift, *call.inputs, name="bitshift")


@lowers(onnx.Max, onnx.Min, onnx.Sum, onnx.Mean)
def variadic(call: Call) -> te.Tensor:
    """The largest, smallest, sum or mean of any number of tensors; NaN wins."""
    name = call.op.onnx_name
    step = {"Max": maximum, "Min": minimum}.get(name, operator.add)

    def fold(*elements: Expr) -> Expr:
        result = elements[0]
        for element in elements[1:]:
            result = step(result, element)
        return result / const_like(len(elements), result) if name == "Mean" else result

    return elementwise(fold, *call.inputs, name=name.lower())


def maximum(a: Expr, b: Expr) -> Expr:
    """The larger of two, NaN where `b` is NaN (a plain Max node is `a > b ? a : b`)."""
    return tirx.Max(a, b)


def minimum(a: Expr, b: Expr) -> Expr:
    """The smaller of two, NaN where `b` is NaN."""
    return tirx.Min(a, b)


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


@lowers(onnx.Where)
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
            found = tirx.Or(found, tirx.EQ(x.astype("float32"), tirx.const(infinity, "float32")))
        return found

    return elementwise(element, call.inputs[0], name="isinf")


@lowers(onnx.Cast, onnx.CastLike)
def cast_op(call: Call) -> te.Tensor:
    """x in another element type: floats truncate to integers, anything but zero is true."""
    source, target = call.inputs[0].dtype, call.dtype()
    for dtype in (source, target):
        if dtype.startswith("float8") or (
            "4" in dtype.removesuffix("64")[-2:] and dtype not in ("float64", "int64")
        ):
            raise UnsupportedOpError(f"casts from {source} to {target} are not supported")
    if target == "bool":
        return elementwise(lambda x: tirx.NE(x, const_like(0, x)), call.inputs[0], name="cast")
    return cast(call.inputs[0], target)


@lowers(onnx.Sign)
def sign(call: Call) -> te.Tensor:
    """-1, 0 or 1."""

    def element(x: Expr) -> Expr:
        one, zero = const_like(1, x), const_like(0, x)
        negative = zero if "uint" in str(x.expr_ty()) else tirx.Select(tirx.LT(x, zero), -one, zero)
        return tirx.Select(tirx.GT(x, zero), one, negative)

    return elementwise(element, call.inputs[0], name="sign", bind=True)


@lowers(onnx.Dropout)
def dropout(call: Call) -> list[te.Tensor]:
    """Identity at inference, with a mask of all true."""
    data = call.inputs[0]
    kept = te.compute(data.shape, lambda *_: tirx.const(True, "bool"), name="mask")
    return [elementwise(lambda x: x, data, name="dropout"), kept]
