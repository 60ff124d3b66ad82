"""softmax(q @ k^T * scale + mask) @ v: scaled-dot-product attention with what splits and joins its heads.

The region starts at a softmax: before it scores = MatMul(q, k^T) through scales, masks and casts; after it
MatMul(p, v). Then the ops that only split heads (Reshape, Transpose, scales, Split of a merged projection)
join on q, k and v, and those that join heads on the output, so that outside flow [batch, sequence, heads *
size] tensors.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeGuard

from xdsl.ir import Operation, SSAValue

from dsc.ir import OnnxOp, is_constant, onnx, shape_of
from dsc.passes.fuse.plan import Plan
from dsc.passes.fuse.roles import computes_sizes, is_elementwise

RULE = "softmax(q @ k^T * scale + mask) @ v"
_HEADS = frozenset({"Expand", "Gather", "Reshape", "Slice", "Split", "Squeeze", "Transpose", "Unsqueeze"})
_SCALES = frozenset({"Cast", "Div", "Mul"})


@dataclass(frozen=True)
class Attention:
    """The core of an attention: its two products, and everything between them."""

    scores: OnnxOp
    output: OnnxOp
    between: tuple[Operation, ...]

    @property
    def core(self) -> list[Operation]:
        """The ops without those that split and join heads."""
        return [self.scores, *self.between, self.output]

    @property
    def q(self) -> SSAValue:
        """The left operand of the scores."""
        return self.scores.operands[0]

    @property
    def k(self) -> SSAValue:
        """The right operand of the scores: keys, transposed."""
        return self.scores.operands[1]

    @property
    def v(self) -> SSAValue:
        """The values."""
        return self.output.operands[1]


def form(plan: Plan) -> None:
    """Group each attention; also the onnx.Attention op where a model has it."""
    for op in list(plan.order):
        if plan.free(op) and isinstance(op, onnx.Attention):
            plan.claim([op], "attention", "attention(q, k, v)")
        elif (found := find(plan, op)) is not None:
            plan.claim(_with_heads(plan, found), "attention", RULE)


def find(plan: Plan, softmax: Operation) -> Attention | None:
    """The attention around a softmax over the last dim, or None."""
    if not plan.free(softmax) or not isinstance(softmax, onnx.Softmax):
        return None
    shape = shape_of(softmax.out.type)
    if shape is None or softmax.attr("axis") not in (-1, len(shape) - 1):
        return None
    before = _scores(plan, softmax)
    after = _product(plan, softmax) if before else None
    if before is None or after is None:
        return None
    scores, masked = before
    output, guarded = after
    between = plan.sorted({*masked, softmax, *guarded})
    found = Attention(scores, output, tuple(between))
    alone = len(plan.live_out(found.core)) == 1 and plan.is_convex(found.core)
    return found if alone and not is_constant(found.v) and not is_constant(found.k) else None


def _scores(plan: Plan, softmax: Operation) -> tuple[OnnxOp, list[Operation]] | None:
    """The product that makes the scores, and the elementwise ops (scale, mask) from it to the softmax."""
    between: list[Operation] = []
    op = softmax.operands[0].owner
    while isinstance(op, OnnxOp) and plan.free(op) and len(between) <= 6:
        if isinstance(op, onnx.MatMul):
            return op, between
        if not is_elementwise(op):
            return None
        between.append(op)
        scored = [v for v in op.operands if _leads_to_product(v)]
        if len(scored) != 1:
            return None
        op = scored[0].owner
    return None


def _leads_to_product(value: SSAValue, depth: int = 6) -> bool:
    """Whether a value comes from a MatMul of two computed tensors, through elementwise ops alone."""
    op = value.owner
    if not isinstance(op, OnnxOp) or depth == 0:
        return False
    if isinstance(op, onnx.MatMul):
        shape = shape_of(op.out.type)
        return not is_constant(op.B) and shape is not None and len(shape) >= 3
    return is_elementwise(op) and any(_leads_to_product(v, depth - 1) for v in op.operands)


def _product(plan: Plan, softmax: OnnxOp) -> tuple[OnnxOp, list[Operation]] | None:
    """The MatMul that takes the probabilities, and the elementwise ops (casts, guards against NaN) up to
    it."""
    value = softmax.out
    between: list[Operation] = []
    while len(between) <= 4:
        users = list(dict.fromkeys(plan.sorted(set(plan.users(value)))))
        if len(users) == 1 and isinstance(users[0], onnx.MatMul) and plan.free(users[0]):
            return (users[0], between) if users[0].A is value else None
        if not users or not all(plan.free(u) and is_elementwise(u) for u in users):
            return None
        between.extend(u for u in users if u not in between)
        value = users[-1].results[0]
    return None


def _with_heads(plan: Plan, attention: Attention) -> list[Operation]:
    """The core and, where they may join, the ops that split the heads of q, k and v and that join them
    again."""
    region = attention.core
    pending = [attention.q, attention.k, attention.v]
    while pending:
        op = pending.pop(0).owner
        if _splits_heads(op, plan, region) and op not in region and plan.is_convex([*region, op]):
            region = [*region, op]
            pending.append(_data_operand(op))
    return _absorb_down(plan, region, attention.output.out)


def source(plan: Plan, attention: Attention, value: SSAValue) -> SSAValue:
    """Where the heads of q, k or v come from: the value before the ops that split (and scale) them."""
    region = attention.core
    op = value.owner
    while _splits_heads(op, plan, region):
        region = [*region, op]
        value = _data_operand(op)
        op = value.owner
    return value


def _splits_heads(op: object, plan: Plan, region: Iterable[Operation]) -> TypeGuard[OnnxOp]:
    """Whether an op moves or scales elements only, and only for this region."""
    if not isinstance(op, OnnxOp) or not plan.free(op) or computes_sizes(op):
        return False
    if isinstance(op, onnx.Gather) and not _is_scalar(op.indices):
        return False
    scales = op.onnx_name in _SCALES and all(v is _data_operand(op) or _is_scalar(v) for v in op.operands)
    if not (op.onnx_name in _HEADS or scales):
        return False
    inside = set(region)
    return all(user in inside for result in op.results for user in plan.users(result))


def _data_operand(op: OnnxOp) -> SSAValue:
    """The operand that is moved or scaled: the one that is not a constant."""
    return next((v for v in op.operands if not is_constant(v)), op.operands[0])


def _is_scalar(value: SSAValue) -> bool:
    shape = shape_of(value.type)
    return is_constant(value) and shape is not None and all(d == 1 for d in shape)


def _absorb_down(plan: Plan, region: list[Operation], value: SSAValue) -> list[Operation]:
    """Take in the Transpose and Reshape that join the heads, each the only user of the value before it."""
    for _ in range(3):
        users = set(plan.users(value))
        if len(users) != 1 or not isinstance(op := users.pop(), onnx.Reshape | onnx.Transpose):
            break
        if not plan.free(op) or op.operands[0] is not value or not plan.is_convex([*region, op]):
            break
        region = [*region, op]
        value = op.results[0]
    return region
