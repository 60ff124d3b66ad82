"""Batch normalization that no convolution takes up."""

from __future__ import annotations

import numpy as np
from xdsl.ir import SSAValue

from dsc.ir import element_of, onnx
from dsc.passes.canonicalize.convolution import batch_norm_factors
from dsc.passes.canonicalize.facts import all_finite, rank
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
        if (rank(m.x) or 0) < 2:
            return "the rank is not known"
        return None if all_finite(*self._affine(m)) else "scale or bias is not finite"

    def _affine(self, m: Match) -> list[np.ndarray]:
        """Scale and bias in the type of x, for each channel."""
        shape, dtype = [-1] + [1] * ((rank(m.x) or 2) - 2), element_of(m.x.type).dtype
        with np.errstate(over="ignore", invalid="ignore"):
            return [array.astype(dtype).reshape(shape) for array in batch_norm_factors(m)]

    def rewrite(self, m: Match) -> SSAValue:
        scale, bias = self._affine(m)
        product = m.emit(onnx.Mul, m.x, m.constant(scale, "bn_scale")).out
        made: SSAValue = m.emit(onnx.Add, product, m.constant(bias, "bn_bias")).out
        return made


RULES: tuple[Rule, ...] = (BatchNormIsAffine(),)
