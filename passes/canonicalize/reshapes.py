"""Reshape and its kin: one form, and chains that merge."""

from __future__ import annotations

from math import prod

import numpy as np
from xdsl.ir import SSAValue

from dsc.ir import Fact, dims_of, onnx
from dsc.passes.canonicalize.facts import rank, same_volume_and_all_but_one, static_shape
from dsc.passes.pattern import const, either, ops, values
from dsc.passes.rule import Match, Rule

x, shape, axes, outer = values("x shape axes outer")

_a_view = ops.being(Fact.VIEW)


def reshape_target(source: SSAValue, result: SSAValue) -> list[int] | None:
    """What to give Reshape so that `source` gets the dims of `result`'s type: 0 copies a dim, -1 is what is
    left.

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

    pattern = ops.Reshape(x, shape)

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

    pattern = _a_view(_a_view(x, ..., label="inner"), ...)
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

    pattern = ops.any("Squeeze", "Unsqueeze")(
        ops.any("Squeeze", "Unsqueeze")(x, const("inner"), label="first"), const("outer")
    )
    inner_values_may_be_used = True

    def check(self, m: Match) -> str | None:
        if m.first.onnx_name == m.root.onnx_name:
            return "both go the same way"
        # Axes of Unsqueeze count in its result, those of Squeeze in its operand: that is the same tensor
        # here.
        middle = rank(m.first.out) if m.first.onnx_name == "Unsqueeze" else rank(m.root.out)
        if middle is None:
            return "the rank is not known"
        inner, outer = ({int(a) % middle for a in m.array(n).reshape(-1)} for n in ("inner", "outer"))
        return None if inner == outer else "the axes differ"

    def rewrite(self, m: Match) -> SSAValue:
        captured: SSAValue = m.x
        return captured


class TransposeBetweenReshapes(Rule):
    """reshape(transpose<0,2,1>(reshape(x, [-1, s, d])), [..., d, s]) => transpose(x, last two)

    The way in which exporters of attention transpose keys.
    """

    pattern = ops.Reshape(ops.Transpose(ops.Reshape(x, ..., label="first"), label="transpose", perm=[0, 2, 1]), ...)

    def check(self, m: Match) -> str | None:
        source, inner, result = (dims_of(v.type) for v in (m.x, m.first.out, m.root.out))
        if source is None or inner is None or result is None or len(source) < 3 or len(source) != len(result):
            return "the ranks are others"
        *lead, s, d = source
        kept = inner[1:] == (s, d) and list(result) == [*lead, d, s]
        return None if kept and "" not in source else "the last two dims are not kept apart"

    def rewrite(self, m: Match) -> SSAValue:
        r = rank(m.x) or 0
        made: SSAValue = m.emit(onnx.Transpose, m.x, perm=[*range(r - 2), r - 1, r - 2]).out
        return made


class MatMulBetweenReshapes(Rule):
    """reshape(reshape(x, [-1, k]) @ w + b, [..., n]) => x @ w + b; the bias may be absent"""

    pattern = ops.Reshape(
        either(
            ops.Reshape(x, ..., label="first") @ const("w"),
            (ops.Reshape(x, ..., label="first") @ const("w")) + const("b"),
        ),
        ...,
    )

    def check(self, m: Match) -> str | None:
        source, result, weights = dims_of(m.x.type), dims_of(m.root.out.type), static_shape(m.w)
        if source is None or result is None or weights is None or len(weights) != 2 or rank(m.first.out) != 2:
            return "the ranks are others"
        lead, rest = source[: len(result) - 1], source[len(result) - 1 :]
        if result != (*lead, weights[1]) or "" in lead or any(isinstance(d, str) for d in rest):
            return "the reshapes do not undo one another"
        if prod(int(d) for d in rest) != weights[0]:
            return "w does not have as many rows as the last dims have elements"
        if m.binding.names.get("b") is not None and m.array("b").shape[:-1] not in ((), (1,)):
            return "b is not a row"
        return None

    def rewrite(self, m: Match) -> SSAValue:
        source, lead = m.x, len(dims_of(m.root.out.type) or ()) - 1
        if rank(source) != lead + 1:
            flat = m.constant(np.array([0] * lead + [m.array("w").shape[0]], np.int64))
            source = m.emit(onnx.Reshape, source, flat).out
        product: SSAValue = m.emit(onnx.MatMul, source, m.w).out
        if m.binding.names.get("b") is None:
            return product
        total: SSAValue = m.emit(onnx.Add, product, m.constant(m.array("b").reshape(-1), "bias")).out
        return total


RULES: tuple[Rule, ...] = (
    FlattenIsReshape(),
    MatMulBetweenReshapes(),
    TransposeBetweenReshapes(),
    ConstantReshape(),
    SqueezeOfUnsqueeze(),
    ReshapeOfReshape(),
)
