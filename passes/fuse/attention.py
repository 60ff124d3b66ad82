"""softmax(q @ k^T * scale + mask) @ v: scaled-dot-product attention with what splits and joins its heads.

The region starts at a softmax: before it scores = MatMul(q, k^T) through scales, masks and casts; after it
MatMul(p, v). Then the ops that only split heads (Reshape, Transpose, scales, Split of a merged projection)
join on q, k and v, and those that join heads on the output, so that outside flow [batch, sequence, heads *
size] tensors.

In quantized models there is a quantization and a dequantization after each of the steps. Where the machine's kernel
takes them (`Fuse.quantized_attention`), they are part of the region, and what flow outside are bytes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeGuard

from xdsl.ir import Operation, SSAValue

from dsc.ir import OnnxOp, element_of, is_constant, onnx, shape_of
from dsc.passes.fuse.dequantized import dequantizes
from dsc.passes.fuse.plan import Plan
from dsc.passes.fuse.roles import computes_sizes, is_elementwise, quantizes_evenly

RULE = "softmax(q @ k^T * scale + mask) @ v"
_HEADS = frozenset({"Expand", "Gather", "Reshape", "Slice", "Split", "Squeeze", "Transpose", "Unsqueeze"})
_SCALES = frozenset({"Cast", "Div", "Mul"})
_MOST = 6
"""Elementwise ops between the product and the softmax: scales, masks, casts ..."""
_MOST_QUANTIZED = 32
"""... and where each of them is quantized again."""


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


def form(plan: Plan, quantized: bool = False) -> None:
    """Group each attention; also the onnx.Attention op where a model has it.

    quantized: whether what is between its steps, and what it reads and gives, may be quantized.
    """
    for op in list(plan.order):
        if plan.free(op) and isinstance(op, onnx.Attention):
            plan.claim([op], "attention", "attention(q, k, v)")
        elif (found := find(plan, op, _MOST_QUANTIZED if quantized else _MOST)) is not None:
            plan.claim(_with_heads(plan, found, quantized), "attention", RULE)


def find(plan: Plan, softmax: Operation, most: int = _MOST) -> Attention | None:
    """The attention around a softmax over the last dim, with up to `most` ops before it; or None."""
    if not plan.free(softmax) or not isinstance(softmax, onnx.Softmax):
        return None
    shape = shape_of(softmax.out.type)
    if shape is None or softmax.attr("axis") not in (-1, len(shape) - 1):
        return None
    before = _scores(plan, softmax, most)
    after = _product(plan, softmax) if before else None
    if before is None or after is None:
        return None
    scores, masked = before
    output, guarded = after
    between = plan.sorted({*masked, softmax, *guarded})
    found = Attention(scores, output, tuple(between))
    alone = len(plan.live_out(found.core)) == 1 and plan.is_convex(found.core)
    return found if alone and not is_constant(found.v) and not is_constant(found.k) else None


def _scores(plan: Plan, softmax: Operation, most: int) -> tuple[OnnxOp, list[Operation]] | None:
    """The product that makes the scores, and the elementwise ops (scale, mask) from it to the softmax."""
    between: list[Operation] = []
    op = softmax.operands[0].owner
    while isinstance(op, OnnxOp) and plan.free(op) and len(between) <= most:
        if isinstance(op, onnx.MatMul):
            return op, between
        if not is_elementwise(op):
            return None
        between.append(op)
        scored = [v for v in op.operands if _leads_to_product(v, most)]
        if len(scored) != 1:
            return None
        op = scored[0].owner
    return None


def _leads_to_product(value: SSAValue, most: int) -> bool:
    """Whether a value comes from a MatMul of two computed tensors, through up to `most` elementwise ops alone."""
    seen: set[Operation] = set()
    pending = [value.owner]
    while pending and len(seen) <= most:
        op = pending.pop()
        if op in seen or not isinstance(op, OnnxOp) or isinstance(op, onnx.Constant):
            continue
        seen.add(op)
        if isinstance(op, onnx.MatMul):
            shape = shape_of(op.out.type)
            if not is_constant(op.B) and shape is not None and len(shape) >= 3:
                return True
        elif is_elementwise(op):
            pending.extend(operand.owner for operand in op.operands)
    return False


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


def _with_heads(plan: Plan, attention: Attention, quantized: bool) -> list[Operation]:
    """The core and, where they may join, the ops that split the heads of q, k and v and that join them
    again."""
    region = attention.core
    pending = [attention.q, attention.k, attention.v]
    if quantized:
        pending += [value for op in attention.between for value in op.operands if dequantizes(value.owner)]
    while pending:
        op = pending.pop(0).owner
        if not isinstance(op, OnnxOp) or op in region or not plan.is_convex([*region, op]):
            continue
        if _splits_heads(op, plan, region) or (quantized and _is_dequantized(op, plan, region)):
            region = [*region, op]
            pending.append(_data_operand(op))
    return _absorb_down(plan, region, attention.output.out, quantized)


def _is_dequantized(op: OnnxOp, plan: Plan, region: Iterable[Operation]) -> bool:
    """Whether an op dequantizes, and only for this region."""
    return dequantizes(op) and plan.free(op) and _used_inside(op, plan, region)


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
    if isinstance(op, onnx.Cast) and element_of(op.out.type).dtype.kind in "iu":
        return False  # what is quantized is in memory as bytes
    scales = op.onnx_name in _SCALES and all(v is _data_operand(op) or _is_scalar(v) for v in op.operands)
    if not (op.onnx_name in _HEADS or scales):
        return False
    return _used_inside(op, plan, region)


def _used_inside(op: Operation, plan: Plan, region: Iterable[Operation]) -> bool:
    inside = set(region)
    return all(user in inside for result in op.results for user in plan.users(result))


def _data_operand(op: OnnxOp) -> SSAValue:
    """The operand that is moved or scaled: the one that is not a constant."""
    return next((v for v in op.operands if not is_constant(v)), op.operands[0])


def _is_scalar(value: SSAValue) -> bool:
    shape = shape_of(value.type)
    return is_constant(value) and shape is not None and all(d == 1 for d in shape)


def _absorb_down(plan: Plan, region: list[Operation], value: SSAValue, quantized: bool) -> list[Operation]:
    """Take in the Transpose and Reshape that join the heads, and the quantization of what they join, each the only user
    of the value before it."""
    for _ in range(4 if quantized else 3):
        users = set(plan.users(value))
        if len(users) != 1 or not _joins_heads(op := users.pop(), quantized):
            break
        if not plan.free(op) or op.operands[0] is not value or not plan.is_convex([*region, op]):
            break
        region = [*region, op]
        value = op.results[0]
    return region


def _joins_heads(op: Operation, quantized: bool) -> bool:
    if isinstance(op, onnx.Reshape | onnx.Transpose):
        return True
    return quantized and isinstance(op, onnx.QuantizeLinear) and quantizes_evenly(op)
