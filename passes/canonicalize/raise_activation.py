"""Activations written out with Clip: HardSigmoid, HardSwish, and Clip itself."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from xdsl.ir import SSAValue

from dsc.ir import onnx
from dsc.passes.canonicalize.facts import is_double, is_float, same_shape
from dsc.passes.matcher import is_rounded
from dsc.passes.pattern import Pattern, const, either, maybe, ops, rounded, scalar, value
from dsc.passes.rule import Match, Rule

x = value("x")
_SIXTH = 1 / 6


class _Elementwise(Rule):
    """The result has the shape of x."""

    doubles: ClassVar[bool] = True
    """Whether float64 has the operator as exactly as its parts: not where constants become attributes, of float32."""

    def check(self, m: Match) -> str | None:
        if not is_float(m.x):
            return "it is not of floats"
        if not self.doubles and is_double(m.x):
            return "attributes are of float32"
        return None if same_shape(m.x.type, m.root.out.type) else "a constant widens the shape"


def _sixth(p: Pattern) -> Pattern:
    return either(p / 6, p * rounded(_SIXTH))


_RELU6 = ops.Clip(x + 3, 0, 6)


class HardSigmoid(_Elementwise):
    """clip(x + 3, 0, 6) / 6 => hard_sigmoid<1/6, 1/2>(x)"""

    doubles = False
    pattern = _sixth(_RELU6)

    def rewrite(self, m: Match) -> SSAValue:
        made: SSAValue = m.emit(onnx.HardSigmoid, m.x, alpha=_SIXTH, beta=0.5).out
        return made


class HardSigmoidOfClip(_Elementwise):
    """clip(x * a + b, 0, 1) => hard_sigmoid<a, b>(x), a and b scalars"""

    doubles = False
    pattern = ops.Clip(x * scalar("a") + scalar("b"), 0, 1)

    def rewrite(self, m: Match) -> SSAValue:
        made: SSAValue = m.emit(onnx.HardSigmoid, m.x, alpha=m.array("a").item(), beta=m.array("b").item()).out
        return made


class HardSwish(_Elementwise):
    """x * clip(x + 3, 0, 6) / 6 => hard_swish(x); also x * hard_sigmoid<1/6, 1/2>(x)"""

    pattern = either(
        _sixth(x * _RELU6),
        _sixth(x) * _RELU6,
        x * ops.HardSigmoid(x, label="gate"),
    )

    def check(self, m: Match) -> str | None:
        gate = m.binding.names.get("gate")
        if gate is not None:
            alpha, beta = m.gate.attr("alpha"), m.gate.attr("beta")
            if not is_rounded(np.asarray(alpha, np.float32), _SIXTH) or beta != 0.5:
                return f"alpha and beta are {alpha:g} and {beta:g}, not 1/6 and 1/2"
        return super().check(m)

    def rewrite(self, m: Match) -> SSAValue:
        made: SSAValue = m.emit(onnx.HardSwish, m.x).out
        return made


class ClipOfMinMax(_Elementwise):
    """min(max(x, a), b) => clip(x, a, b), a <= b scalars; also max of min"""

    pattern = either(
        ops.Min(ops.Max(x, scalar("low")), scalar("high")), ops.Max(ops.Min(x, scalar("high")), scalar("low"))
    )

    def check(self, m: Match) -> str | None:
        if not m.array("low").item() <= m.array("high").item():
            return "the bounds are crossed, or not numbers"
        return super().check(m)

    def rewrite(self, m: Match) -> SSAValue:
        return _clip(m, "low", "high")


class ClipOfRelu(_Elementwise):
    """clip(relu(x), a, b) => clip(x, max(a, 0), b); also min(relu(x), b)"""

    pattern = either(ops.Clip(ops.Relu(x), maybe(const("low")), scalar("high")), ops.Min(ops.Relu(x), scalar("high")))

    def check(self, m: Match) -> str | None:
        low = m.array("low").item() if m.binding.names.get("low") is not None else 0
        if not low <= 0 <= m.array("high").item():
            return "the bounds are not those of a Relu"
        return super().check(m)

    def rewrite(self, m: Match) -> SSAValue:
        return _clip(m, None, "high")


def _clip(m: Match, low: str | None, high: str) -> SSAValue:
    top = m.array(high).reshape(())
    bottom = m.array(low).reshape(()) if low else top.dtype.type(0)
    made: SSAValue = m.emit(onnx.Clip, m.x, m.constant(bottom), m.constant(top)).out
    return made


RULES: tuple[Rule, ...] = (
    ClipOfRelu(),
    ClipOfMinMax(),
    HardSwish(),
    HardSigmoid(),
    HardSigmoidOfClip(),
)
