"""Weights as kernels of integers take them: bytes, and those of products signed, with a zero point of 0."""

from __future__ import annotations

import numpy as np
from xdsl.ir import SSAValue

from dsc.exchange import evaluate
from dsc.ir import element_of
from dsc.passes.integers.scales import BYTES, FLOAT32
from dsc.passes.integers.signed_weights import SignedWeights, is_depthwise
from dsc.passes.pattern import const, maybe, ops, value
from dsc.passes.rule import Match, Rule


class QuantizedConstant(Rule):
    """q(c) => bytes, c constant"""

    pattern = ops.QuantizeLinear(const("c"), ...)

    def check(self, m: Match) -> str | None:
        if element_of(m.root.results[0].type).dtype not in BYTES or element_of(m.c.type).dtype != FLOAT32:
            return "it does not make bytes of float32"
        known = all(m.graph.constant(operand) is not None for operand in m.root.operands)
        return None if known else "the scale or the zero point is not known"

    def rewrite(self, m: Match) -> SSAValue:
        known = {operand: m.graph.constant(operand) for operand in m.root.operands}
        (quantized,) = evaluate(m.root, {operand: array for operand, array in known.items() if array is not None})
        return m.constant(quantized, "quantized")


class CenteredWeights(Rule):
    """integer_product(x, w, zx, zw) => integer_product(x, w - o, zx) - (zw - o) * integer_product(x, 1, zx)"""

    pattern = ops.any("MatMulInteger", "ConvInteger")(value("x"), const("w"), maybe("zx"), const("zw"))

    def check(self, m: Match) -> str | None:
        weights, zero = m.array("w"), m.array("zw")
        if weights.size == 0:
            return "the weight has no elements"
        if zero.ndim > 1 and zero.size > 1:
            return "the zero points are not those of the output channels"
        signed = self._signed(m)
        if signed.array is weights or not is_depthwise(weights.shape, m.root.attr("group", 1)):
            return None
        kept = signed.rest is not None and weights.dtype == np.int8 and np.array_equal(signed.array, weights)
        return "a depthwise convolution takes the zero point off itself" if kept else None

    def rewrite(self, m: Match) -> SSAValue:
        return self._signed(m).product(m, type(m.root), m.x, m.zx, **m.root.attrs())

    def _signed(self, m: Match) -> SignedWeights:
        weights = m.array("w")
        return SignedWeights.of(weights, m.array("zw"), 0 if m.root.onnx_name == "ConvInteger" else weights.ndim - 1)


RULES: tuple[Rule, ...] = (QuantizedConstant(), CenteredWeights())
