"""Weights as kernels of integers take them: bytes, and those of products signed, with a zero point of 0."""

from __future__ import annotations

import numpy as np
from xdsl.ir import SSAValue

from dsc.exchange import evaluate
from dsc.ir import element_of
from dsc.passes.integers.scales import BYTES, FLOAT32
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
    """integer_product(x, w, zx, zw) => integer_product(x, w - zw, zx), w and zw constant"""

    pattern = ops.any("MatMulInteger", "ConvInteger")(value("x"), const("w"), maybe("zx"), const("zw"))

    def check(self, m: Match) -> str | None:
        return None if _centered(m) is not None else "a weight less its zero point is no signed byte"

    def rewrite(self, m: Match) -> SSAValue:
        weights = _centered(m)
        assert weights is not None  # it was checked
        made: SSAValue = m.like(m.root, m.x, m.constant(weights, "weights"), m.zx, None).out
        return made


def _centered(m: Match) -> np.ndarray | None:
    weights, zero = m.array("w"), m.array("zw").astype(np.int16)
    if zero.ndim == 1 and m.root.onnx_name == "ConvInteger":
        zero = zero.reshape(-1, *[1] * (weights.ndim - 1))  # of output channels; those of MatMulInteger are of columns
    wide = weights.astype(np.int16) - zero
    narrow = wide.astype(np.int8)
    return narrow if np.array_equal(narrow, wide) else None


RULES: tuple[Rule, ...] = (QuantizedConstant(), CenteredWeights())
