"""Softmax written out."""

from __future__ import annotations

import numpy as np
from xdsl.ir import SSAValue

from dsc.ir import onnx
from dsc.passes.canonicalize.facts import is_float, rank, reduced_axes
from dsc.passes.pattern import Pattern, const, either, ops, value
from dsc.passes.rule import Match, Rule

x = value("x")


def _normalized(exponential: Pattern) -> Pattern:
    total = ops.ReduceSum(exponential, const("axes"), keepdims=1)
    return either(exponential / total, exponential * ops.Reciprocal(total))


class Softmax(Rule):
    """exp(x - max(x)) / sum(exp(x - max(x))) => softmax(x); also without the maximum"""

    pattern = either(_normalized(ops.Exp(x - ops.ReduceMax(x, const("max_axes"), keepdims=1))), _normalized(ops.Exp(x)))

    def check(self, m: Match) -> str | None:
        axes = reduced_axes(m.array("axes"), rank(m.x))
        if not is_float(m.x) or axes is None or len(axes) != 1:
            return "the sum is not over one known axis"
        shifted = m.binding.names.get("max_axes") is not None
        if shifted and reduced_axes(m.array("max_axes"), rank(m.x)) != axes:
            return "maximum and sum are over different axes"
        return None

    def rewrite(self, m: Match) -> SSAValue:
        axes, r = reduced_axes(m.array("axes"), rank(m.x)), rank(m.x)
        assert axes is not None
        assert r is not None
        made: SSAValue = m.emit(onnx.Softmax, m.x, axis=axes[0] - r).out
        return made


_PROBABILITIES = ops.Softmax(x + value("mask"), label="softmax")


class MaskedSoftmaxIsNumber(Rule):
    """where(is_nan(softmax(x + mask)), 0, softmax(x + mask)) => softmax(x + mask), mask finite

    Exporters guard rows that are masked as a whole: with a mask of -inf their softmax is 0/0. A finite mask
    has no such rows. What differs is a NaN or infinity in x: it is handed on, and no longer hidden.
    """

    pattern = ops.Where(ops.IsNaN(_PROBABILITIES), 0, _PROBABILITIES)

    def check(self, m: Match) -> str | None:
        mask = m.mask.owner
        choices = [m.graph.constant(v) for v in (mask.X, mask.Y)] if isinstance(mask, onnx.Where) else []
        parts = choices or [m.graph.constant(m.mask)]
        if any(part is None for part in parts):
            return "the mask is not constant, nor a choice of constants"
        return None if all(np.isfinite(p).all() for p in parts if p is not None) else "the mask has an infinity"

    def rewrite(self, m: Match) -> SSAValue:
        made: SSAValue = m.softmax.out
        return made


RULES: tuple[Rule, ...] = (Softmax(), MaskedSoftmaxIsNumber())
