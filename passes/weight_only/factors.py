"""Products by dequantized constants: the scales by groups of the depth, and as few zero points as possible."""

from __future__ import annotations

import numpy as np
from xdsl.ir import SSAValue

from dsc.ir import element_of, onnx
from dsc.passes.canonicalize.facts import rank
from dsc.passes.canonicalize.packed_weights import is_packed
from dsc.passes.canonicalize.transposes import permutation
from dsc.passes.pattern import ops, value
from dsc.passes.rule import Match, Rule
from dsc.passes.weight_only.groups import Grouped, centered, grouped, is_grouped

HALF = 16
"""Bits."""
_weight = ops.DequantizeLinear(..., label="dq")


class TransposedWeight(Rule):
    """transpose(dq(w, s, z)) => dq(transpose(w), transpose(s), transpose(z)), w a constant matrix in blocks"""

    pattern = ops.Transpose(_weight)
    inner_values_may_be_used = True

    def check(self, m: Match) -> str | None:
        if any(m.graph.constant(v) is None for v in m.dq.operands):
            return "the weights are not constant"
        return None if rank(m.dq.x) == 2 and permutation(m.root) == (1, 0) else "it is no matrix that is turned"

    def rewrite(self, m: Match) -> SSAValue:
        parts = (None if v is None else m.graph.constant(v) for v in m.dq.node_inputs())
        turned = [None if part is None else m.constant(part.T, "transposed") for part in parts]
        made: SSAValue = m.like(m.dq, *turned, axis=1 - m.dq.attr("axis", 1) % 2).out
        return made


class WidenedWeight(Rule):
    """float32(dq(w, s, z)) => dq(w, float32(s), z), s in half precision, to which nothing is rounded then"""

    pattern = ops.Cast(_weight)
    inner_values_may_be_used = True

    def check(self, m: Match) -> str | None:
        if not is_packed(m.graph, m.dq) or element_of(m.root.out.type).dtype != np.float32:
            return "it is no weight of few bits that is multiplied in float32"
        return None if element_of(m.dq.x_scale.type).bits == HALF else "the scales are not in half precision"

    def rewrite(self, m: Match) -> SSAValue:
        scales = m.graph.constant(m.dq.x_scale)
        assert scales is not None  # it was checked
        wide = m.constant(scales.astype(np.float32), "scales")
        made: SSAValue = m.like(m.dq, m.dq.x, wide, m.dq.x_zero_point).out
        return made


class GroupedWeight(Rule):
    """x @ dq(w, s, z) => x @ dq(w - z, s), s by groups of the depth; z stays where w - z is out of range"""

    pattern = value("x") @ _weight
    inner_values_may_be_used = True

    def check(self, m: Match) -> str | None:
        found = grouped(m.graph, m.dq)
        if isinstance(found, str):
            return found
        if refused := found.refused_as_factor():
            return refused
        return "it is in that form" if is_grouped(m.graph, m.dq) and centered(found) is found else None

    def rewrite(self, m: Match) -> SSAValue:
        found = grouped(m.graph, m.dq)
        assert isinstance(found, Grouped)  # it was checked
        made: SSAValue = m.emit(onnx.MatMul, m.x, centered(found).emit(m)).out
        return made


RULES: tuple[Rule, ...] = (TransposedWeight(), WidenedWeight(), GroupedWeight())
