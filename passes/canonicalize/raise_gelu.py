"""Gelu written out, in its exact and its tanh form."""

from __future__ import annotations

import math

from xdsl.ir import SSAValue

from dsc.ir import onnx
from dsc.passes.canonicalize.facts import is_float, same_shape
from dsc.passes.pattern import Pattern, either, ops, rounded, value
from dsc.passes.rule import Match, Rule

x = value("x")


def _half_times(gate: Pattern) -> Pattern:
    """0.5 * x * gate, in every order and association, with a division by two as well."""
    return either(
        (x * 0.5) * gate,
        (x / 2) * gate,
        (x * gate) * 0.5,
        (x * gate) / 2,
        x * (gate * 0.5),
        x * (gate / 2),
    )


class _Gelu(Rule):
    approximate = "none"

    def check(self, m: Match) -> str | None:
        if not is_float(m.x):
            return "it is not of floats"
        return None if same_shape(m.x.type, m.root.out.type) else "a constant widens the shape"

    def rewrite(self, m: Match) -> SSAValue:
        made: SSAValue = m.emit(onnx.Gelu, m.x, approximate=self.approximate).out
        return made


_ERF = ops.Erf(either(x / rounded(math.sqrt(2)), x * rounded(math.sqrt(0.5))))


class GeluErf(_Gelu):
    """0.5 * x * (1 + erf(x / sqrt(2))) => gelu(x)"""

    pattern = either(_half_times(_ERF + 1), x * (_ERF * 0.5 + 0.5))


_CUBE = either(x**3, (x * x) * x)
_A = rounded(0.044715)
_C = rounded(math.sqrt(2 / math.pi))
_AC = rounded(0.044715 * math.sqrt(2 / math.pi))
_TANH = ops.Tanh(
    either(
        (x + _CUBE * _A) * _C,
        (x * _C) * ((x * _A) * x + 1),
        (x * _C) * ((x * x) * _A + 1),
        (x * _C) * ((x**2) * _A + 1),
        x * ((x * x) * _AC + _C),
        x * ((x**2) * _AC + _C),
    )
)


class GeluTanh(_Gelu):
    """0.5 * x * (1 + tanh(sqrt(2/pi) * (x + 0.044715 * x³))) => gelu<tanh>(x)"""

    pattern = either(_half_times(_TANH + 1), x * (_TANH * 0.5 + 0.5))
    approximate = "tanh"


RULES: tuple[Rule, ...] = (GeluErf(), GeluTanh())
