"""Linear quantization and products of quantized matrices."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from tvm import te, tirx
from tvm.ir import Expr
from xdsl.ir import Operation

from dsc.elements import ElementType, FloatEncoding, integer_encoding
from dsc.ir import element_of, onnx, rounded_between
from dsc.lower import minifloats
from dsc.lower.exprs import Dim, floordiv, simplify
from dsc.lower.nearest import is_nearest, nearest
from dsc.lower.ops.conv import centered, convolve
from dsc.lower.ops.matmul import matmul
from dsc.lower.ops.reduce import reduce
from dsc.lower.registry import Call, UnsupportedOpError, lowers
from dsc.lower.tensors import const_like, elementwise, is_float, let, normalize_axis
from dsc.lower.windows import windows

Place: TypeAlias = Callable[[Sequence[Expr], te.Tensor], Sequence[Dim]]
"""Of an element's indices and a tensor of zero points: the index of the one that belongs to it."""
Factor: TypeAlias = Callable[[Sequence[Expr]], Expr]
"""Of the indices of a sum: what it is multiplied by."""


def parameter(call: Call, tensor: te.Tensor, shape: Sequence[Dim], indices: Sequence[Expr]) -> Expr:
    """The scale or zero point of an element: that of the tensor, along an axis, or of blocks of it."""
    if not len(tensor.shape):
        return tensor()
    axis = normalize_axis(call.attr("axis", 1), len(shape))
    if len(tensor.shape) == 1:
        return tensor(0 if simplify(tensor.shape[0]) == 1 else indices[axis])
    block = call.attr("block_size", 0)
    return tensor(*(floordiv(i, block) if a == axis else i for a, i in enumerate(indices)))


def saturated(value: Expr, zero: Expr | None, element: ElementType) -> Expr:
    """The integer nearest to a float32, plus a zero point, cut down to what the type holds, which is 16 bits at most.

    It is cut down first, so that its place in the type's range is found at once.
    """
    encoding = integer_encoding(element.dtype)
    assert encoding is not None
    assert element.computed is not None
    low, high = (tirx.const(float(limit), "float32") for limit in (encoding.least, encoding.largest))
    if zero is not None:
        low, high = low - zero.astype("float32"), high - zero.astype("float32")
    found = nearest(tirx.Min(high, tirx.Max(low, value)))
    return (found if zero is None else found + zero.astype("int32")).astype(element.computed)


@lowers(onnx.QuantizeLinear)
def quantize(call: Call) -> te.Tensor:
    """Saturate(round(x / scale) + zero point), halves to even; floats are rounded as they are narrowed."""
    x, scale, zero = call.inputs
    target = call.element()

    def element(*i: Expr) -> Expr:
        step = parameter(call, scale, x.shape, i).astype("float32")
        value = x(*i).astype("float32") / step
        offset = None if zero is None else parameter(call, zero, x.shape, i)
        if not isinstance(target.encoding, FloatEncoding):
            return saturated(value, offset, target)
        if offset is not None:
            value = value + offset.astype("float32")
        return minifloats.saturated(value, target.encoding) if call.attr("saturate", 1) else value

    return te.compute(x.shape, element, name="quantize")


@lowers(onnx.DequantizeLinear)
def dequantize(call: Call) -> te.Tensor:
    """(x - zero point) * scale."""
    x, scale, zero = call.inputs

    exact = "float32" if is_float(x) else "int32"
    whole = _before_narrowing(call) or (lambda *i: x(*i).astype(exact))

    def element(*i: Expr) -> Expr:
        value = whole(*i)
        if zero is not None:
            value = value - parameter(call, zero, x.shape, i).astype(exact)
        step = parameter(call, scale, x.shape, i)
        return (value.astype("float32") * step.astype("float32")).astype(call.dtype())

    return te.compute(x.shape, element, name="dequantize")


def _before_narrowing(call: Call) -> Callable[..., Expr] | None:
    """The elements of the operand as int32, before they were cast to bytes, which they are: that need not be done then.

    None where it was made otherwise, or elsewhere.
    """
    cast, made = call.op.operands[0].owner, call.inputs[0].op
    limits = rounded_between(cast) if isinstance(cast, Operation) else None
    narrowed = made.body[0] if isinstance(made, te.ComputeOp) else None
    if limits is None or not isinstance(narrowed, tirx.Cast) or not is_nearest(narrowed.value):
        return None
    encoding = integer_encoding(element_of(call.op.operands[0].type).dtype)
    if encoding is None or not encoding.least <= limits[0] <= limits[1] <= encoding.largest:
        return None
    rounded = made.input_tensors[0]
    return lambda *i: nearest(rounded(*i))


@lowers(onnx.DynamicQuantizeLinear)
def dynamic_quantize(call: Call) -> list[te.Tensor]:
    """Quantized to uint8 by the range of the data, which includes 0; also the scale and zero point found."""
    x = call.inputs[0]
    byte = call.element()
    axes = list(range(len(x.shape)))
    low = reduce(te.min, x, x.shape, axes, False, "low")
    high = reduce(te.max, x, x.shape, axes, False, "high")

    def span() -> Expr:
        zero = const_like(0, x)
        return (tirx.Max(high(), zero) - tirx.Min(low(), zero)) / const_like(255, x)

    scale = te.compute((), span, name="scale")

    def origin() -> Expr:
        least = tirx.Min(low(), const_like(0, x))
        return let(scale(), lambda s: saturated(_over(-least, s), None, byte))

    zero_point = te.compute((), origin, name="zero_point")

    def element(v: Expr) -> Expr:
        return saturated(_over(v, scale()), zero_point(), byte)

    return [elementwise(element, x, name="quantized"), scale, zero_point]


def _over(value: Expr, scale: Expr) -> Expr:
    """Value / scale; 0 where the scale is."""
    zero = const_like(0, value)
    return tirx.Select(tirx.EQ(scale, zero), zero, value / scale)


@lowers(onnx.MatMulInteger)
def matmul_integer(call: Call) -> te.Tensor:
    """A product in int32, zero points taken off first; A's may be of rows, B's of columns."""
    a, b, a_zero, b_zero = call.inputs
    return matmul(_rows(a, a_zero), _columns(b, b_zero), "int32")


def _rows(a: te.Tensor, zero: te.Tensor | None) -> te.Tensor:
    return _shifted(a, zero, lambda i, z: [*i[: len(z.shape) - 1], i[-2]] if len(z.shape) == 1 else [*i[:-1], 0])


def _columns(b: te.Tensor, zero: te.Tensor | None) -> te.Tensor:
    return _shifted(b, zero, lambda i, z: [i[-1]] if len(z.shape) == 1 else [*i[:-2], 0, i[-1]])


def _shifted(x: te.Tensor, zero: te.Tensor | None, place: Place) -> te.Tensor:
    if zero is None or all(simplify(d) == 1 for d in zero.shape):
        return centered(x, zero)
    return te.compute(
        x.shape, lambda *i: x(*i).astype("int32") - zero(*place(i, zero)).astype("int32"), name="centered"
    )


def _requantized(total: te.Tensor, factor: Factor, zero: te.Tensor, target: ElementType) -> te.Tensor:
    def element(*i: Expr) -> Expr:
        return saturated(total(*i).astype("float32") * factor(i), zero(*[0] * len(zero.shape)), target)

    return te.compute(total.shape, element, name="requantized")


@lowers(onnx.QLinearMatMul)
def qlinear_matmul(call: Call) -> te.Tensor:
    """A product of quantized matrices, quantized again."""
    a, a_scale, a_zero, b, b_scale, b_zero, y_scale, y_zero = call.inputs
    if is_float(a) or is_float(b) or is_float(y_zero):
        raise UnsupportedOpError("there are kernels for quantized integers only, not for 8-bit floats")
    total = matmul(_rows(a, a_zero), _columns(b, b_zero), "int32")

    def factor(i: Sequence[Expr]) -> Expr:
        left = _at(a_scale, [*i[:-2], i[-2], 0])
        right = _at(b_scale, [*i[:-2], 0, i[-1]])
        return left * right / _at(y_scale, [0])

    return _requantized(total, factor, y_zero, call.element())


def _at(scale: te.Tensor, place: Sequence[Dim]) -> Expr:
    """The scale of a row or column (the index in `place` that is not 0), as float32."""
    rank = len(scale.shape)
    if all(simplify(d) == 1 for d in scale.shape):
        return scale(*[0] * rank).astype("float32")
    if rank == 1:
        found = next((p for p in reversed(place) if not (isinstance(p, int) and p == 0)), None)
        if found is None:
            raise UnsupportedOpError("a scale that must be one number may have more")
        return scale(found).astype("float32")
    return scale(*place[-rank:]).astype("float32")


@lowers(onnx.QLinearConv)
def qlinear_conv(call: Call) -> te.Tensor:
    """A quantized convolution, quantized again; weights may have a scale for each output channel."""
    x, x_scale, x_zero, w, w_scale, w_zero, y_scale, y_zero, bias = call.inputs
    spatial = windows(call, x.shape[2:], [call.static(3, a) for a in range(2, len(w.shape))])
    total = convolve(centered(x, x_zero), centered(w, w_zero), spatial, call.attr("group"), "int32")
    if bias is not None:
        plain = total
        total = te.compute(plain.shape, lambda *i: plain(*i) + bias(i[1]), name="bias")

    def factor(i: Sequence[Expr]) -> Expr:
        per_channel = len(w_scale.shape) == 1 and simplify(w_scale.shape[0]) != 1
        weight = w_scale(i[1]) if per_channel else w_scale(*[0] * len(w_scale.shape))
        return _at(x_scale, [0]) * weight / _at(y_scale, [0])

    return _requantized(total, factor, y_zero, call.element())
