"""Dequantization belongs to those who read floats: regions take it in, so that bytes are in memory between them."""

from __future__ import annotations

from typing import TypeGuard

from xdsl.ir import Operation, SSAValue

from dsc.ir import Graph, OnnxOp, is_constant, onnx
from dsc.passes.driver import replace_op
from dsc.passes.fuse.equation import equation
from dsc.passes.fuse.plan import Group, Plan
from dsc.passes.fuse.roles import is_elementwise

_KINDS = frozenset({"conv", "matmul", "elementwise", "pool", "reduction", "norm", "softmax"})
"""Of regions whose elementwise ops may read what is quantized."""


def dequantizes(op: object) -> TypeGuard[OnnxOp]:
    """Whether an op makes floats of a computed tensor, by one scale: as cheap inside a region as a Cast."""
    return isinstance(op, onnx.DequantizeLinear) and is_elementwise(op) and not is_constant(op.x)


def split(graph: Graph) -> None:
    """Give each reader a dequantization of its own, which it may take into its region."""
    for op in list(graph.body.ops):
        if dequantizes(op):
            for use in list(op.results[0].uses)[1:]:
                copy = op.clone()
                graph.body.insert_op_after(copy, op)
                use.operation.operands[use.index] = copy.results[0]


def absorb(plan: Plan) -> None:
    """Take into each group the dequantizations that its elementwise ops read, from where they stand alone or come last
    in the group before."""
    changed: dict[Group, None] = {}
    for group in plan.groups:
        if group.kind in _KINDS:
            for op in [op for op in group.ops if is_elementwise(op)]:
                for value in op.operands:
                    if dequantizes(value.owner):
                        assert isinstance(value.owner, Operation)
                        changed.update(dict.fromkeys(_join(plan, group, value.owner)))
    for group in changed:
        anchor = next((op for op in group.ops if not is_elementwise(op)), None)
        group.rule = equation(group.ops, plan.live_out(group.ops), anchor)


def _join(plan: Plan, group: Group, op: Operation) -> list[Group]:
    """Move an op to a group, unless it is what another group is about; the groups that are others now."""
    before = plan.group_of.get(op)
    if before is group or (before is not None and len(before.ops) == 1):
        return []
    if before is not None:
        before.ops.remove(op)
    group.ops = plan.sorted([op, *group.ops])
    plan.group_of[op] = group
    return [group] if before is None else [before, group]


def reunite(plan: Plan) -> None:
    """Make one of the dequantizations of a tensor that no region took in.

    Before the regions are outlined: two inputs of a region that become one value afterwards would be an input twice.
    """
    kept: dict[tuple[SSAValue, ...], Operation] = {}
    for op in plan.order:
        if dequantizes(op) and plan.free(op):
            first = kept.setdefault(tuple(op.operands), op)
            if first is not op:
                replace_op(op, first.results)
                plan.graph.body.erase_op(op)
