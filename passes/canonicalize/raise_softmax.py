"""Softmax written out."""

from __future__ import annotations

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
    """exp(x - max(x)) / sum(exp(x - max(x))) => softmax(x)

    Without the maximum it is another function: exp(100) is infinite, and the quotient no number.
    """

    pattern = _normalized(ops.Exp(x - ops.ReduceMax(x, const("max_axes"), keepdims=1)))

    def check(self, m: Match) -> str | None:
        axes = reduced_axes(m.array("axes"), rank(m.x))
        if not is_float(m.x) or axes is None or len(axes) != 1:
            return "the sum is not over one known axis"
        if reduced_axes(m.array("max_axes"), rank(m.x)) != axes:
            return "maximum and sum are over different axes"
        return None

    def rewrite(self, m: Match) -> SSAValue:
        axes, r = reduced_axes(m.array("axes"), rank(m.x)), rank(m.x)
        assert axes is not None
        assert r is not None
        made: SSAValue = m.emit(onnx.Softmax, m.x, axis=axes[0] - r).out
        return made


RULES: tuple[Rule, ...] = (Softmax(),)
