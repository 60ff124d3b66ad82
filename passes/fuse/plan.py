"""Which ops are fused with which: groups of ops, kept convex, and made regions all at once."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from xdsl.dialects.func import ReturnOp
from xdsl.ir import Operation, SSAValue

from dsc.ir import Graph, OnnxOp, WeightOp, onnx


@dataclass(eq=False)
class Group:
    """Ops that become one fusion, in the order of the graph."""

    ops: list[Operation]
    kind: str
    rule: str


@dataclass
class Plan:
    """The groups planned so far for the top level of a graph. The graph itself is not changed."""

    graph: Graph
    order: dict[Operation, int] = field(default_factory=dict)
    groups: list[Group] = field(default_factory=list)
    group_of: dict[Operation, Group] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.order = {op: i for i, op in enumerate(self.graph.body.ops)}

    def free(self, op: object) -> bool:
        """Whether an op may still be fused: a top-level onnx op that computes, in no group yet."""
        if not isinstance(op, OnnxOp) or isinstance(op, onnx.Constant) or op.regions:
            return False
        return op in self.order and op not in self.group_of

    def sorted(self, ops: Iterable[Operation]) -> list[Operation]:
        """Ops in the order of the graph."""
        return sorted(ops, key=self.order.__getitem__)

    def users(self, value: SSAValue) -> list[Operation]:
        """The ops that use a value; what uses it inside a body counts as a use by the op that has the
        body."""
        return [self._top_level(use.operation) for use in value.uses]

    def live_out(self, ops: Collection[Operation]) -> list[SSAValue]:
        """The values that ops outside use, in order."""
        inside = set(ops)
        return [
            result
            for op in self.sorted(ops)
            for result in op.results
            if any(user not in inside for user in self.users(result))
        ]

    def claim(self, ops: Iterable[Operation], kind: str, rule: str) -> Group:
        """Make a group of ops that are all free."""
        group = Group(self.sorted(ops), kind, rule)
        assert all(self.free(op) for op in group.ops), f"an op of {rule} is in a group already"
        self.groups.append(group)
        self.group_of.update(dict.fromkeys(group.ops, group))
        return group

    def is_convex(self, ops: Collection[Operation]) -> bool:
        """Whether no path leaves the ops and comes back: then they can run as one, at one time."""
        inside = set(ops)
        first = min(self.order[op] for op in inside)
        seen: set[Operation] = set()
        pending = [p for op in inside for p in self._inputs_of(op) if p not in inside]
        while pending:
            op = pending.pop()
            if op in inside:
                return False
            if op in seen:
                continue
            members = self.group_of[op].ops if op in self.group_of else [op]
            seen.update(members)
            if max(self.order[m] for m in members) < first:
                continue  # all of them are before the first of ours, so they cannot depend on it
            pending.extend(p for member in members for p in self._inputs_of(member))
        return True

    def _inputs_of(self, op: Operation) -> list[Operation]:
        """The top-level ops whose results an op, or its bodies, use."""
        operands = list(op.operands)
        for inner in op.walk() if op.regions else ():
            operands.extend(inner.operands)
        owners = {value.owner for value in operands if isinstance(value.owner, Operation)}
        return [o for o in owners if o in self.order and not isinstance(o, (onnx.Constant, WeightOp))]

    def _top_level(self, op: Operation) -> Operation:
        while op not in self.order:
            parent = op.parent_op()
            assert parent is not None
            op = parent
        return op


def is_output(value: SSAValue) -> bool:
    """Whether a value is an output of the model."""
    return any(isinstance(use.operation, ReturnOp) for use in value.uses)
