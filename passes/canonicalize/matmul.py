"""Gemm in plain parts, and constant factors in the weights of a MatMul."""

from __future__ import annotations

import numpy as np
from xdsl.ir import SSAValue

from dsc.ir import onnx
from dsc.passes.canonicalize.facts import all_finite, is_float, rank, scales_safely, static_shape
from dsc.passes.pattern import const, maybe, ops, value, values
from dsc.passes.rule import Match, Rule

a, b, x = values("a b x")


class GemmIsMatMul(Rule):
    """gemm(a, b, c) => alpha * (a @ b) + beta * c, constants transposed and scaled now"""

    pattern = ops.Gemm(a, b, maybe("c"))

    def check(self, m: Match) -> str | None:
        alpha, beta = m.root.attr("alpha"), m.root.attr("beta")
        if alpha != 1 and m.graph.constant(m.a) is None and m.graph.constant(m.b) is None:
            return "alpha is not 1, and neither factor is constant"
        if m.c is not None and beta != 1 and m.graph.constant(m.c) is None:
            return "beta is not 1, and c is not constant"
        if not is_float(m.a) and (alpha != 1 or (m.c is not None and beta != 1)):
            return "factors of integers are not integers"
        return _refuse_factors(m)

    def rewrite(self, m: Match) -> SSAValue:
        op, scale_b = m.root, m.graph.constant(m.b) is not None
        alpha = op.attr("alpha")
        left = _factor(m, "a", op.attr("transA"), 1.0 if scale_b else alpha)
        right = _factor(m, "b", op.attr("transB"), alpha if scale_b else 1.0)
        product: SSAValue = m.emit(onnx.MatMul, left, right).out
        if m.c is None or (op.attr("beta") == 0 and all_finite(m.array("c"))):
            return product
        total: SSAValue = m.emit(onnx.Add, product, _factor(m, "c", 0, op.attr("beta"))).out
        return total


def _refuse_factors(m: Match) -> str | None:
    """Why alpha and beta cannot be multiplied into the constants."""
    scaled = m.graph.constant(m.b) if m.graph.constant(m.b) is not None else m.graph.constant(m.a)
    alpha, beta = m.root.attr("alpha"), m.root.attr("beta")
    if alpha != 1 and scaled is not None and not scales_safely(scaled, alpha):
        return "alpha times a constant leaves the range of its type"
    added = None if m.c is None else m.graph.constant(m.c)
    if beta not in (0, 1) and added is not None and not scales_safely(added, beta):
        return "beta times c leaves the range of its type"
    return None


def _factor(m: Match, name: str, transposed: int, factor: float) -> SSAValue:
    """An operand of Gemm, transposed and scaled; a scaled one is constant."""
    operand: SSAValue = getattr(m, name)
    array = m.graph.constant(operand)
    if not transposed and factor == 1:
        return operand
    if array is None:
        assert factor == 1
        made: SSAValue = m.emit(onnx.Transpose, operand, perm=[1, 0]).out
        return made
    array = array.T if transposed else array
    return m.constant(array if factor == 1 else array * array.dtype.type(factor), "gemm_w")


class MatMulMul(Rule):
    """(x @ w) * c => x @ (w * c), c a scalar or for each column"""

    pattern = (value("x") @ const("w", owned=True)) * const("c")

    def check(self, m: Match) -> str | None:
        return _refuse(m, m.array("c"))

    def rewrite(self, m: Match) -> SSAValue:
        made: SSAValue = m.emit(onnx.MatMul, m.x, m.constant(m.array("w") * _row(m.array("c")), "matmul_w")).out
        return made


class MatMulDiv(Rule):
    """(x @ w) / c => x @ (w / c), c a scalar or for each column"""

    pattern = (value("x") @ const("w", owned=True)) / const("c")

    def check(self, m: Match) -> str | None:
        if not m.array("c").all():
            return "c has a zero"
        return _refuse(m, 1 / m.array("c").astype(np.float64))

    def rewrite(self, m: Match) -> SSAValue:
        made: SSAValue = m.emit(onnx.MatMul, m.x, m.constant(m.array("w") / _row(m.array("c")), "matmul_w")).out
        return made


def _refuse(m: Match, factor: np.ndarray) -> str | None:
    if static_shape(m.w) is None or rank(m.w) != 2:
        return "w is not a matrix"
    if not is_float(m.w):
        return "w is not float"
    c, r = m.array("c"), rank(m.x)  # which is the product's
    if r is None or c.ndim > r or (c.ndim and c.size != c.shape[-1]):
        return "c is not a row"
    if c.size not in (1, m.array("w").shape[1]):
        return "c widens the result"
    return None if scales_safely(m.array("w"), _row(factor), 1) else "the scaled weights leave the range of their type"


def _row(c: np.ndarray) -> np.ndarray:
    return c.reshape(-1)


RULES: tuple[Rule, ...] = (GemmIsMatMul(), MatMulMul(), MatMulDiv())
