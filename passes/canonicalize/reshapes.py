"""Reshape and its kin: one form, and chains that merge."""

from __future__ import annotations

import numpy as np
from xdsl.ir import SSAValue

from dsc.ir import dims_of, onnx
from dsc.passes.canonicalize.facts import rank, same_volume_and_all_but_one
from dsc.passes.pattern import const, ops, values
from dsc.passes.rule import Match, Rule

x, shape, axes, outer = values("x shape axes outer")

_RESHAPES = ("Reshape", "Flatten", "Squeeze", "Unsqueeze")


def reshape_target(source: SSAValue, result: SSAValue) -> list[int] | None:
    """What to give Reshape so that `source` gets the dims of `result`'s type: 0 copies a dim, -1 is what is left.

    None when the types do not say enough.
    """
    wanted, given = dims_of(result.type), dims_of(source.type)
    if wanted is None or given is None:
        return None
    target: list[int] = []
    for i, dim in enumerate(wanted):
        if isinstance(dim, int):
            target.append(dim)
        elif dim != "" and i < len(given) and given[i] == dim:
            target.append(0)
        else:
            target.append(-1)
    # -1 and a static 0 would be ambiguous: Reshape reads 0 as "copy"
    static_zero = any(dim == 0 for dim in wanted)
    return None if target.count(-1) > 1 or static_zero else target


class FlattenIsReshape(Rule):
    """flatten(x) => reshape(x, constant)"""

    pattern = ops.Flatten(x)

    def check(self, m: Match) -> str | None:
        return None if reshape_target(m.x, m.root.out) else "more than one dim is not known"

    def rewrite(self, m: Match) -> SSAValue:
        return _reshape(m)


class ConstantReshape(Rule):
    """reshape(x, computed shape) => reshape(x, constant), where the types tell the shape"""

    pattern = ops.Reshape(x, shape, allowzero=0)

    def check(self, m: Match) -> str | None:
        if m.graph.constant(m.shape) is not None:
            return "it is constant"
        return None if reshape_target(m.x, m.root.out) else "more than one dim is not known"

    def rewrite(self, m: Match) -> SSAValue:
        return _reshape(m)


def _reshape(m: Match) -> SSAValue:
    target = reshape_target(m.x, m.root.out)
    made: SSAValue = m.emit(onnx.Reshape, m.x, m.constant(np.array(target, np.int64))).out
    return made


class ReshapeOfReshape(Rule):
    """reshape(reshape(x, s), t) => reshape(x, t); also of Flatten, Squeeze and Unsqueeze"""

    pattern = ops.any(*_RESHAPES)(ops.any(*_RESHAPES)(x, ..., label="inner"), ...)
    inner_values_may_be_used = True

    def check(self, m: Match) -> str | None:
        if same_volume_and_all_but_one(m.x.type, m.root.out.type):
            return None
        return None if reshape_target(m.x, m.root.out) else "more than one dim is not known"

    def rewrite(self, m: Match) -> SSAValue:
        if same_volume_and_all_but_one(m.x.type, m.root.out.type):
            captured: SSAValue = m.x
            return captured
        return _reshape(m)


class SqueezeOfUnsqueeze(Rule):
    """squeeze(unsqueeze(x, axes), axes) => x; also the other way round"""

    pattern = ops.any("Squeeze", "Unsqueeze")(ops.any("Squeeze", "Unsqueeze")(x, const("inner"), label="first"), const("outer"))
    inner_values_may_be_used = True

    def check(self, m: Match) -> str | None:
        if m.first.onnx_name == m.root.onnx_name:
            return "both go the same way"
        # Axes of Unsqueeze count in its result, those of Squeeze in its operand: that is the same tensor here.
        middle = rank(m.first.out) if m.first.onnx_name == "Unsqueeze" else rank(m.root.out)
        if middle is None:
            return "the rank is not known"
        inner, outer = ({int(a) % middle for a in m.array(n).reshape(-1)} for n in ("inner", "outer"))
        return None if inner == outer else "the axes differ"

    def rewrite(self, m: Match) -> SSAValue:
        captured: SSAValue = m.x
        return captured


RULES: tuple[Rule, ...] = (FlattenIsReshape(), ConstantReshape(), SqueezeOfUnsqueeze(), ReshapeOfReshape())
