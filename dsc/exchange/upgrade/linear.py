"""Quantized operators of com.microsoft, as ONNX Runtime's quantizer writes them (`QuantFormat.QOperator`, and what its
optimizer makes of dynamic quantization), by ONNX's float operators between dequantization and quantization.

(ONNX Runtime, docs/ContribOperators.md.)
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from onnx import TensorProto

from dsc.exchange.upgrade.edit import Edit, Rule


def _inputs(edit: Edit, count: int) -> list[str]:
    """So many inputs, absent ones as ""."""
    return [*edit.node.input, *[""] * count][:count]


def _floats(edit: Edit, x: str, scale: str, zero: str) -> str:
    return edit.emit("DequantizeLinear", [x, scale, *([zero] if zero else [])])


def _become_bytes(edit: Edit, result: str, scale: str, zero: str, like: str) -> None:
    """The node quantizes the result; without a zero point to the type of `like`, an input."""
    if not zero:
        zero = edit.emit("CastLike", [edit.constant(np.uint8(0)), like])
    edit.become("QuantizeLinear", result, scale, zero)


def _binary(op_type: str) -> Rule:
    def rule(edit: Edit) -> None:
        a, a_scale, a_zero, b, b_scale, b_zero, scale, zero = _inputs(edit, 8)
        factors = [_floats(edit, a, a_scale, a_zero), _floats(edit, b, b_scale, b_zero)]
        _become_bytes(edit, edit.emit(op_type, factors), scale, zero, a)

    return rule


def _unary(op_type: str, *attributes: str) -> Rule:
    """Of one tensor; attributes with these names are those of `op_type`."""

    def rule(edit: Edit) -> None:
        if edit.attribute("channels_last", 0):
            raise edit.refuse("images with their channels last are not supported; export the model with them first")
        x, x_scale, x_zero, scale, zero = _inputs(edit, 5)
        given = {name: found for name in attributes if (found := edit.attribute(name)) is not None}
        _become_bytes(edit, edit.emit(op_type, [_floats(edit, x, x_scale, x_zero)], **given), scale, zero, x)

    return rule


def _leaky_relu(edit: Edit) -> None:
    edit.put("alpha", edit.attribute("alpha", 0.01))
    _unary("LeakyRelu", "alpha")(edit)


def _softmax(edit: Edit) -> None:
    """Before opset 13, dims from the axis on were one; which is the same for the last."""
    if edit.attribute("opset", 13) < 13 and edit.attribute("axis", -1) != -1:
        raise edit.refuse("a softmax of opset 12 over other dims than the last is not supported; export a newer opset")
    edit.put("axis", edit.attribute("axis", -1))
    _unary("Softmax", "axis")(edit)


def _mean(edit: Edit) -> None:
    axes = edit.attribute("axes")
    x, x_scale, x_zero, scale, zero = _inputs(edit, 5)
    inputs = [_floats(edit, x, x_scale, x_zero), *([] if axes is None else [edit.int64s(axes)])]
    mean = edit.emit("ReduceMean", inputs, keepdims=edit.attribute("keepdims", 1))
    _become_bytes(edit, mean, scale, zero, x)


def _concat(edit: Edit) -> None:
    scale, zero, *parts = edit.node.input
    floats = [_floats(edit, *parts[at : at + 3]) for at in range(0, len(parts), 3)]
    _become_bytes(edit, edit.emit("Concat", floats, axis=edit.attribute("axis")), scale, zero, parts[0])


def _where(edit: Edit) -> None:
    condition, x, x_scale, x_zero, y, y_scale, y_zero, scale, zero = _inputs(edit, 9)
    floats = [_floats(edit, x, x_scale, x_zero), _floats(edit, y, y_scale, y_zero)]
    _become_bytes(edit, edit.emit("Where", [condition, *floats]), scale, zero, x)


def _gemm(edit: Edit) -> None:
    """alpha op(a) op(b) + c; c is of int32 and has the scale of the product. Without a scale of its own the result is
    float32."""
    a, a_scale, a_zero, b, b_scale, b_zero, c, scale, zero = _inputs(edit, 9)
    alpha, trans_a, trans_b = (edit.attribute(*pair) for pair in (("alpha", 1.0), ("transA", 0), ("transB", 0)))
    columns = 0 if trans_b else 1
    weight = edit.emit("DequantizeLinear", [b, b_scale, *([b_zero] if b_zero else [])], axis=columns)
    inputs = [_floats(edit, a, a_scale, a_zero), weight]
    if c:
        step = _product_scale(edit, a_scale, b_scale)
        if alpha != 1:
            step = edit.emit("Mul", [step, edit.constant(np.float32(alpha))])
        inputs.append(edit.emit("Mul", [edit.emit("Cast", [c], to=TensorProto.FLOAT), step]))
    if scale:
        product = edit.emit("Gemm", inputs, alpha=alpha, transA=trans_a, transB=trans_b)
        _become_bytes(edit, product, scale, zero, a)
        return
    edit.become("Gemm", *inputs)
    for name, given in (("alpha", alpha), ("transA", trans_a), ("transB", trans_b)):
        edit.put(name, given)


def _product_scale(edit: Edit, a_scale: str, b_scale: str) -> str:
    return edit.emit("Mul", [a_scale, b_scale])


def _matmul_to_float(edit: Edit) -> None:
    a, b, a_scale, b_scale, a_zero, b_zero, bias = _inputs(edit, 7)
    _become_product(edit, [a, b, a_zero, b_zero], _product_scale(edit, a_scale, b_scale), bias)


def _matmul_of_floats(edit: Edit) -> None:
    """a is quantized by its own range."""
    a, b, b_scale, b_zero, bias = _inputs(edit, 5)
    quantized, scale, zero = (edit.fresh(f"{a}_{what}") for what in ("quantized", "scale", "zero"))
    edit.emit_all("DynamicQuantizeLinear", [a], [quantized, scale, zero])
    _become_product(edit, [quantized, b, zero, b_zero], _product_scale(edit, scale, b_scale), bias)


def _become_product(edit: Edit, inputs: Sequence[str], scale: str, bias: str) -> None:
    kept = list(inputs)
    while not kept[-1]:
        kept.pop()
    total = edit.emit("Cast", [edit.emit("MatMulInteger", kept)], to=TensorProto.FLOAT)
    if bias:
        edit.become("Add", edit.emit("Mul", [total, scale]), bias)
    else:
        edit.become("Mul", total, scale)


def _same(edit: Edit) -> None:
    """ONNX's own operator has these types by now."""
    axis = edit.attribute("axis", 1)
    edit.become(edit.node.op_type, *edit.node.input)
    edit.put("axis", axis)


_POOL = ("auto_pad", "ceil_mode", "count_include_pad", "kernel_shape", "pads", "strides")

RULES: dict[str, Rule] = {
    "DequantizeLinear": _same,
    "DynamicQuantizeMatMul": _matmul_of_floats,
    "MatMulIntegerToFloat": _matmul_to_float,
    "QGemm": _gemm,
    "QLinearAdd": _binary("Add"),
    "QLinearAveragePool": _unary("AveragePool", *_POOL),
    "QLinearConcat": _concat,
    "QLinearGlobalAveragePool": _unary("GlobalAveragePool"),
    "QLinearLeakyRelu": _leaky_relu,
    "QLinearMul": _binary("Mul"),
    "QLinearReduceMean": _mean,
    "QLinearSigmoid": _unary("Sigmoid"),
    "QLinearSoftmax": _softmax,
    "QLinearWhere": _where,
    "QuantizeLinear": _same,
}
