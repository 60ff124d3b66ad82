"""What only moves elements, or selects some, moves bytes and not floats: dequantization waits until after it."""

from __future__ import annotations

from itertools import zip_longest

import numpy as np
from xdsl.ir import SSAValue

from dsc.ir import OnnxOp, element_of, onnx
from dsc.passes.canonicalize.transposes import permutation
from dsc.passes.fuse.roles import quantizes_evenly
from dsc.passes.integers.scales import BYTES, refuse_tensor
from dsc.passes.pattern import ops, value
from dsc.passes.rule import Match, Rule


class QuantizedAgain(Rule):
    """q(dq(x)) => x, of one scale and zero point"""

    pattern = ops.QuantizeLinear(ops.DequantizeLinear(value("x"), ..., label="dq"), ...)
    inner_values_may_be_used = True

    def check(self, m: Match) -> str | None:
        return _refuse_again(m)

    def rewrite(self, m: Match) -> SSAValue:
        captured: SSAValue = m.x
        return captured


class ClampOfDequantized(Rule):
    """q(clip(dq(x))) => clip(x), of one scale and zero point; relu too

    Quantizing is monotone, so the limits are quantized. Those at the end of the type are none.
    """

    pattern = ops.QuantizeLinear(
        ops.any("Clip", "Relu")(ops.DequantizeLinear(value("x"), ..., label="dq"), ..., label="clamp"), ...
    )
    inner_values_may_be_used = True

    def check(self, m: Match) -> str | None:
        if refused := _refuse_again(m):
            return refused
        scale = m.graph.constant(m.dq.x_scale)
        if scale is None or not (np.isfinite(scale) & (scale > 0)).all():
            return "the scale is not a positive number"
        limits = [m.graph.constant(limit) for limit in m.clamp.operands[1:]]
        return None if all(limit is not None and not np.isnan(limit) for limit in limits) else "a limit is not known"

    def rewrite(self, m: Match) -> SSAValue:
        dtype = element_of(m.x.type).dtype
        ends = np.iinfo(dtype.name)
        low, high = _limits(m)
        kept = [
            None if limit == end else m.constant(np.array(limit, dtype))
            for limit, end in ((low, ends.min), (high, ends.max))
        ]
        made: SSAValue = m.x if kept == [None, None] else m.emit(onnx.Clip, m.x, *kept).out
        return made


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
            if not _same(m, part.x_scale, first.x_scale) or not _same(m, part.x_zero_point, first.x_zero_point):
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


def _refuse_again(m: Match) -> str | None:
    """Why the root does not quantize what `dq` dequantized as it was before."""
    if element_of(m.root.results[0].type) != element_of(m.x.type):
        return "the types differ"
    if element_of(m.x.type).dtype not in BYTES:
        return "what is quantized is not bytes"  # of 16 bits and more, the way through floats may round
    if refused := refuse_tensor(m, m.dq):
        return refused
    same = _same(m, m.dq.x_scale, m.root.y_scale) and _same(m, m.dq.x_zero_point, m.root.y_zero_point)
    return None if same else "scales or zero points differ"


def _limits(m: Match) -> tuple[float, float]:
    """The limits of `clamp`, quantized."""
    low, high = 0.0, np.inf
    if m.clamp.onnx_name == "Clip":
        given = [None if v is None else m.graph.constant(v) for v in m.clamp.node_inputs()[1:]]
        low, high = (end if a is None else a.item() for a, end in zip_longest(given, (-np.inf, np.inf)))
    scale, zero = (None if v is None else m.graph.constant(v) for v in (m.dq.x_scale, m.dq.x_zero_point))
    assert scale is not None  # it was checked
    with np.errstate(over="ignore"):
        steps = np.rint(np.array([low, high], np.float32) / scale.reshape(()))
    steps += 0 if zero is None else int(zero.item())
    ends = np.iinfo(element_of(m.x.type).dtype.name)
    first, second = np.clip(steps, ends.min, ends.max).tolist()
    return first, second


def _parts(m: Match) -> list[OnnxOp] | None:
    owners = [operand.owner for operand in m.root.operands]
    parts = [owner for owner in owners if isinstance(owner, onnx.DequantizeLinear)]
    return parts if parts and len(parts) == len(owners) else None


def _dequantized(m: Match, dq: OnnxOp, x: SSAValue, **attributes: int) -> SSAValue:
    made: SSAValue = m.like(dq, x, dq.x_scale, dq.x_zero_point, **attributes).out
    return made


def _same(m: Match, a: SSAValue | None, b: SSAValue | None) -> bool:
    """Whether two scales or zero points are one number; an absent one is 0."""
    first, second = (np.zeros(1) if v is None else m.graph.constant(v) for v in (a, b))
    if first is None or second is None or first.size != 1 or second.size != 1:
        return False
    return bool(first.reshape(()) == second.reshape(()))


RULES: tuple[Rule, ...] = (
    QuantizedAgain(),
    ClampOfDequantized(),
    TransposeOfWeights(),
    MoveOfDequantized(),
    ConcatOfDequantized(),
    QuantizedConcat(),
)
