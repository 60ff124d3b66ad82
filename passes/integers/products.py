"""Products of dequantized factors are integer products, scaled afterwards.

``sum of sx (x - zx) sw (w - zw) = sx sw * sum of (x - zx) (w - zw)``: the sum of integers is exact, which that of
floats is not, and one rounding takes the place of many. `signed_weights` has what becomes of the weights.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from xdsl.ir import SSAValue

from dsc.ir import element_of_dtype, onnx
from dsc.passes.canonicalize.facts import rank, static_shape
from dsc.passes.integers.scales import multiplied, refuse_tensor, refuse_weight, signed_weights, zero_point
from dsc.passes.integers.signed_weights import SignedWeights, is_depthwise
from dsc.passes.pattern import OpPattern, maybe, ops
from dsc.passes.rule import Match, Rule


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
        refused = refuse_tensor(m, m.dx) or refuse_weight(m, m.dw, 0) or _refuse_window(m, shape)
        return refused or _refuse_sum(signed_weights(m, m.dw, 0), int(np.prod(shape[1:])))

    def rewrite(self, m: Match) -> SSAValue:
        weights, zero = signed_weights(m, m.dw, 0), zero_point(m, m.dx)
        product = weights.product(m, onnx.ConvInteger, m.dx.x, zero, **m.root.attrs())
        along = (-1, *[1] * (len(m.dw.x.type.get_shape()) - 2))
        scaled = _scaled(m, product, multiplied(m, m.dx, m.dw, m.dw.x.type.get_shape()[0]), along)
        if m.b is None:
            return scaled
        bias = m.emit(onnx.Reshape, m.b, m.constant(np.array(along, np.int64))).out
        made: SSAValue = m.emit(onnx.Add, scaled, bias).out
        return made


def _refuse_window(m: Match, shape: tuple[int, ...]) -> str | None:
    """Why kernels for bytes do not take a convolution by weights of this shape, which then is faster in floats."""
    groups = m.root.attr("group")
    if groups > 1 and not is_depthwise(shape, groups) and shape[1] % 4:
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
        return _matrix_product(m, signed_weights(m, m.db, 1))


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
        weights = signed_weights(m, m.db, 0 if transposed else 1)
        product = _matrix_product(m, replace(weights, array=weights.array.T) if transposed else weights)
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
    refused = refuse_tensor(m, m.da) or refuse_weight(m, m.db, columns)
    return refused or _refuse_sum(signed_weights(m, m.db, columns), shape[1 - columns])


def _refuse_sum(weights: SignedWeights, terms: int) -> str | None:
    return None if terms <= weights.most_terms else "the sum may leave 32 bits"


def _matrix_product(m: Match, weights: SignedWeights) -> SSAValue:
    product = weights.product(m, onnx.MatMulInteger, m.da.x, zero_point(m, m.da))
    return _scaled(m, product, multiplied(m, m.da, m.db, weights.array.shape[1]), (-1,))


def _scaled(m: Match, product: SSAValue, scales: np.ndarray, shape: tuple[int, ...]) -> SSAValue:
    factor = m.constant(scales.reshape(shape), "scales")
    made: SSAValue = m.emit(onnx.Mul, m.emit(onnx.Cast, product, to=element_of_dtype(np.float32).code).out, factor).out
    return made


RULES: tuple[Rule, ...] = (ConvOfIntegers(), MatMulOfIntegers(), GemmOfIntegers())
