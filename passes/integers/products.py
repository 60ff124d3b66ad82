"""Products of dequantized factors are integer products, scaled afterwards.

``sum of sx (x - zx) sw (w - zw) = sx sw * sum of (x - zx) (w - zw)``: the sum of integers is exact, which that of
floats is not, and one rounding takes the place of many.
"""

from __future__ import annotations

import numpy as np
from xdsl.ir import SSAValue

from dsc.ir import OnnxOp, element_of_dtype, onnx
from dsc.passes.canonicalize.facts import rank, static_shape
from dsc.passes.integers.scales import centered, multiplied, refuse_tensor, refuse_weight, zero_point
from dsc.passes.pattern import OpPattern, maybe, ops
from dsc.passes.rule import Match, Rule

MOST_TERMS = (2**31 - 1) // (255 * 128)
"""Of a sum of products of bytes that certainly stays within 32 bits."""


def _dequantized(name: str) -> OpPattern:
    return ops.DequantizeLinear(..., label=name)


class ConvOfIntegers(Rule):
    """conv(dq(x), dq(w), b) => float(conv_integer(x, w)) * (sx * sw) + b"""

    pattern = ops.Conv(_dequantized("dx"), _dequantized("dw"), maybe("b"))
    inner_values_may_be_used = True

    def check(self, m: Match) -> str | None:
        shape = static_shape(m.dw.x)
        if shape is None or len(shape) != 4:
            return "it is not 2-dimensional"
        if int(np.prod(shape[1:])) > MOST_TERMS:
            return "the sum may leave 32 bits"
        return refuse_tensor(m, m.dx) or refuse_weight(m, m.dw, 0) or _refuse_window(m, shape[0], shape[1])

    def rewrite(self, m: Match) -> SSAValue:
        weights = m.constant(_weights(m, m.dw, 0), "conv_w")
        product = m.emit(onnx.ConvInteger, m.dx.x, weights, zero_point(m, m.dx), None, **m.root.attrs()).out
        along = (-1, *[1] * (len(m.dw.x.type.get_shape()) - 2))
        scaled = _scaled(m, product, multiplied(m, m.dx, m.dw, m.dw.x.type.get_shape()[0]), along)
        if m.b is None:
            return scaled
        bias = m.emit(onnx.Reshape, m.b, m.constant(np.array(along, np.int64))).out
        made: SSAValue = m.emit(onnx.Add, scaled, bias).out
        return made


def _refuse_window(m: Match, outputs: int, per_group: int) -> str | None:
    """Why kernels for bytes do not take such a convolution, which then is faster in floats."""
    groups = m.root.attr("group")
    depthwise = per_group == 1 and groups == outputs and groups % 4 == 0
    if groups > 1 and not depthwise and per_group % 4:
        return "groups of so few channels"
    if m.root.attr("auto_pad") not in ("NOTSET", "VALID") or any(pad < 0 for pad in m.root.attr("pads") or ()):
        return "its padding is no number of pixels"
    return None


class MatMulOfIntegers(Rule):
    """dq(a) @ dq(b) => float(matmul_integer(a, b)) * (sa * sb), b constant"""

    pattern = ops.MatMul(_dequantized("da"), _dequantized("db"))
    inner_values_may_be_used = True

    def check(self, m: Match) -> str | None:
        return _refuse_matrix(m, 1)

    def rewrite(self, m: Match) -> SSAValue:
        return _matrix_product(m, _weights(m, m.db, 1))


class GemmOfIntegers(Rule):
    """gemm(dq(a), dq(b), c) => float(matmul_integer(a, b)) * (sa * sb) + c, b constant"""

    pattern = ops.Gemm(_dequantized("da"), _dequantized("db"), maybe("c"))
    inner_values_may_be_used = True

    def check(self, m: Match) -> str | None:
        op = m.root
        if op.attr("alpha") != 1 or op.attr("beta") != 1 or op.attr("transA"):
            return "it is more than a product and a sum"
        return _refuse_matrix(m, 0 if op.attr("transB") else 1)

    def rewrite(self, m: Match) -> SSAValue:
        transposed = bool(m.root.attr("transB"))
        weights = _weights(m, m.db, 0 if transposed else 1)
        product = _matrix_product(m, weights.T if transposed else weights)
        if m.c is None:
            return product
        made: SSAValue = m.emit(onnx.Add, product, m.c).out
        return made


def _refuse_matrix(m: Match, columns: int) -> str | None:
    """columns: the axis of `b` that is those of the product."""
    shape = static_shape(m.db.x)
    if shape is None or len(shape) != 2:
        return "b is not a matrix"
    if (rank(m.da.x) or 0) < 2:
        return "a is no matrix"
    if shape[1 - columns] > MOST_TERMS:
        return "the sum may leave 32 bits"
    return refuse_tensor(m, m.da) or refuse_weight(m, m.db, columns)


def _weights(m: Match, op: OnnxOp, axis: int) -> np.ndarray:
    found = centered(m, op, axis)
    assert found is not None  # it was checked
    return found


def _matrix_product(m: Match, weights: np.ndarray) -> SSAValue:
    product = m.emit(onnx.MatMulInteger, m.da.x, m.constant(weights, "matmul_w"), zero_point(m, m.da), None).out
    return _scaled(m, product, multiplied(m, m.da, m.db, weights.shape[1]), (-1,))


def _scaled(m: Match, product: SSAValue, scales: np.ndarray, shape: tuple[int, ...]) -> SSAValue:
    factor = m.constant(scales.reshape(shape), "scales")
    made: SSAValue = m.emit(onnx.Mul, m.emit(onnx.Cast, product, to=element_of_dtype(np.float32).code).out, factor).out
    return made


RULES: tuple[Rule, ...] = (ConvOfIntegers(), MatMulOfIntegers(), GemmOfIntegers())
