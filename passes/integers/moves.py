"""What only moves elements, or selects some, moves bytes and not floats: dequantization waits until after it."""

from __future__ import annotations

from xdsl.ir import SSAValue

from dsc.ir import OnnxOp, onnx
from dsc.passes.canonicalize.transposes import permutation
from dsc.passes.fuse.roles import quantizes_evenly
from dsc.passes.integers.scales import refuse_again, refuse_tensor, same_encoding
from dsc.passes.pattern import ops, value
from dsc.passes.rule import Match, Rule


class QuantizedAgain(Rule):
    """q(dq(x)) => x, of one scale and zero point"""

    pattern = ops.QuantizeLinear(ops.DequantizeLinear(value("x"), ..., label="dq"), ...)
    inner_values_may_be_used = True

    def check(self, m: Match) -> str | None:
        return refuse_again(m)

    def rewrite(self, m: Match) -> SSAValue:
        captured: SSAValue = m.x
        return captured


class MoveOfDequantized(Rule):
    """move(dq(x)) => dq(move(x)), of one scale"""

    pattern = ops.any("Transpose", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Slice", "Gather", "MaxPool")(
        ops.DequantizeLinear(value("x"), ..., label="dq"), ...
    )
    inner_values_may_be_used = True

    def check(self, m: Match) -> str | None:
        if len(m.root.results) != 1:
            return "it gives indices as well"
        scale = m.graph.constant(m.dq.x_scale)
        if m.root.onnx_name == "MaxPool" and (scale is None or not (scale > 0).all()):
            return "the scale may turn the order round"
        return refuse_tensor(m, m.dq)

    def rewrite(self, m: Match) -> SSAValue:
        moved = m.like(m.root, m.x, *m.root.node_inputs()[1:]).out
        return _dequantized(m, m.dq, moved)


class TransposeOfWeights(Rule):
    """transpose(dq(w), p) => dq(transpose(w, p)), the axis of the scales moved, w constant"""

    pattern = ops.Transpose(ops.DequantizeLinear(value("x"), ..., label="dq"))
    inner_values_may_be_used = True

    def check(self, m: Match) -> str | None:
        if m.graph.constant(m.x) is None:
            return "x is not constant"
        if m.dq.attr("block_size", 0):
            return "scales of blocks"
        return None if permutation(m.root) is not None else "the rank is not known"

    def rewrite(self, m: Match) -> SSAValue:
        perm = permutation(m.root)
        assert perm is not None
        moved = m.constant(m.array("x").transpose(perm), "transposed")
        axis = m.dq.attr("axis", 1) % len(perm) if perm else 0
        return _dequantized(m, m.dq, moved, axis=perm.index(axis) if perm else 0)


class ConcatOfDequantized(Rule):
    """concat(dq(x), dq(y)) => dq(concat(x, y)), of the same scales and zero points"""

    pattern = ops.Concat(...)
    inner_values_may_be_used = True

    def check(self, m: Match) -> str | None:
        parts = _parts(m)
        if parts is None:
            return "an operand is not dequantized"
        first = parts[0]
        for part in parts:
            if refused := refuse_tensor(m, part):
                return refused
            if part.x.type.element_type != first.x.type.element_type:
                return "the types differ"
            if not same_encoding(m, part, first):
                return "scales or zero points differ"
        return None

    def rewrite(self, m: Match) -> SSAValue:
        parts = _parts(m)
        assert parts is not None
        return _dequantized(m, parts[0], m.like(m.root, *(part.x for part in parts)).out)


class QuantizedConcat(Rule):
    """q(concat(x, y)) => concat(q(x), q(y)), of one scale"""

    pattern = ops.QuantizeLinear(ops.Concat(..., label="concat"), ...)

    def check(self, m: Match) -> str | None:
        return None if quantizes_evenly(m.root) else "the scale is not one number"

    def rewrite(self, m: Match) -> SSAValue:
        scale = m.root.node_inputs()[1:]
        parts = [m.like(m.root, part, *scale).out for part in m.concat.operands]
        made: SSAValue = m.like(m.concat, *parts).out
        return made


def _parts(m: Match) -> list[OnnxOp] | None:
    owners = [operand.owner for operand in m.root.operands]
    parts = [owner for owner in owners if isinstance(owner, onnx.DequantizeLinear)]
    return parts if parts and len(parts) == len(owners) else None


def _dequantized(m: Match, dq: OnnxOp, x: SSAValue, **attributes: int) -> SSAValue:
    made: SSAValue = m.like(dq, x, dq.x_scale, dq.x_zero_point, **attributes).out
    return made


RULES: tuple[Rule, ...] = (
    QuantizedAgain(),
    TransposeOfWeights(),
    MoveOfDequantized(),
    ConcatOfDequantized(),
    QuantizedConcat(),
)
