"""Outlining: the ops of each planned group become the body of a `dsc.fusion`."""

from __future__ import annotations

from collections.abc import Iterable

from xdsl.dialects.func import ReturnOp
from xdsl.ir import Block, Operation, Region, SSAValue

from dsc.ir import FusionOp, Graph, YieldOp, onnx
from dsc.passes.fuse.plan import Group, Plan


def outline(plan: Plan) -> None:
    """Make the fusions of all groups, and order the graph so that each value is defined before it is used."""
    graph = plan.graph
    for group, outputs in [(group, plan.live_out(group.ops)) for group in plan.groups]:
        fusion = _fusion(group, outputs)
        graph.body.insert_op_after(fusion, group.ops[-1])
        _replace(group.ops, outputs, fusion)
    for op in list(graph.body.ops):
        if isinstance(op, onnx.Constant) and not op.out.uses:
            graph.body.erase_op(op)
    sort_block(graph.body)


def _fusion(group: Group, outputs: Iterable[SSAValue]) -> FusionOp:
    """The fusion op of a group, with a copy of its ops as the body."""
    inside = {result for op in group.ops for result in op.results}
    operands = list(dict.fromkeys(v for op in group.ops for v in op.operands if v not in inside))
    inputs = [v for v in operands if not isinstance(v.owner, onnx.Constant)]
    block = Block(arg_types=[v.type for v in inputs])
    mapping: dict[SSAValue, SSAValue] = dict(zip(inputs, block.args, strict=True))
    for value, argument in zip(inputs, block.args, strict=True):
        argument.name_hint = value.name_hint
    constants = [v.owner for v in operands if isinstance(v.owner, onnx.Constant)]
    for op in [*constants, *group.ops]:
        block.add_op(op.clone(value_mapper=mapping))
    block.add_op(YieldOp(*[mapping[v] for v in outputs]))
    return FusionOp(group.kind, inputs, [v.type for v in outputs], Region(block), group.rule)


def _replace(ops: list[Operation], outputs: list[SSAValue], fusion: FusionOp) -> None:
    for old, new in zip(outputs, fusion.results, strict=True):
        new.name_hint = old.name_hint
        old.replace_all_uses_with(new)
    for op in reversed(ops):
        assert op.parent is not None
        op.parent.erase_op(op)


def sort_block(block: Block) -> None:
    """Order the ops of a block so that producers come before users, and otherwise as they are."""
    done: set[Operation] = set()
    ordered: list[Operation] = []
    for root in list(block.ops):
        pending = [root]
        while pending:
            op = pending[-1]
            waiting = [] if op in done else [p for p in _producers(op, block) if p not in done]
            if waiting:
                pending.extend(waiting)
                continue
            pending.pop()
            if op not in done:
                done.add(op)
                ordered.append(op)
    ordered.sort(key=lambda op: isinstance(op, ReturnOp))
    for op in ordered:
        block.detach_op(op)
    block.add_ops(ordered)


def _producers(op: Operation, block: Block) -> list[Operation]:
    """The ops of the block that an op, or its bodies, need."""
    values = [v for inner in op.walk() for v in inner.operands] if op.regions else list(op.operands)
    return [v.owner for v in values if isinstance(v.owner, Operation) and v.owner.parent is block]


def single_op_fusion(graph: Graph, op: Operation, kind: str, rule: str) -> FusionOp:
    """Make a fusion of one op, in its place."""
    group = Group([op], kind, rule)
    fusion = _fusion(group, list(op.results))
    assert op.parent is not None
    op.parent.insert_op_after(fusion, op)
    _replace([op], list(op.results), fusion)
    return fusion
