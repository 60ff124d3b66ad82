"""Batch normalization that no convolution takes up."""

from __future__ import annotations

import numpy as np
from xdsl.ir import SSAValue

from dsc.ir import onnx
from dsc.passes.canonicalize.facts import rank
from dsc.passes.pattern import const, ops, value
from dsc.passes.rule import Match, Rule


class BatchNormIsAffine(Rule):
    """batch_norm(x) => x * s + (bias - mean * s), s = scale / sqrt(var + eps)"""

    pattern = ops.BatchNormalization(
        value("x"), const("scale"), const("bias"), const("mean"), const("var"), training_mode=0
    )

    def check(self, m: Match) -> str | None:
        if m.x.owner is not None and getattr(m.x.owner, "onnx_name", "") in ("Conv", "ConvTranspose"):
            return "it is left to the convolution before it" if len(list(m.x.uses)) == 1 else None
        return None if (rank(m.x) or 0) >= 2 else "the rank is not known"

    def rewrite(self, m: Match) -> SSAValue:
        scale, bias, mean, var = (m.array(n).astype(np.float64) for n in ("scale", "bias", "mean", "var"))
        factor = scale / np.sqrt(var + m.root.attr("epsilon"))
        shape, dtype = [-1] + [1] * ((rank(m.x) or 2) - 2), m.array("scale").dtype
        product = m.emit(onnx.Mul, m.x, m.constant(factor.astype(dtype).reshape(shape), "bn_scale")).out
        offset = (bias - mean * factor).astype(dtype).reshape(shape)
        made: SSAValue = m.emit(onnx.Add, product, m.constant(offset, "bn_bias")).out
        return made


RULES: tuple[Rule, ...] = (BatchNormIsAffine(),)
