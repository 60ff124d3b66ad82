"""Outer products belong to the region that reads them: their factors are small, and in memory they would be as large as
its result."""

from __future__ import annotations

from xdsl.ir import Operation, SSAValue

from dsc.ir import dims_of, is_constant
from dsc.passes.fuse.equation import equation
from dsc.passes.fuse.plan import Group, Plan
from dsc.passes.fuse.roles import is_elementwise

_KINDS = frozenset({"conv", "matmul"})


def absorb(plan: Plan) -> None:
    """Take into each region of a product the outer products that nothing else reads."""
    for group in plan.groups:
        if group.kind in _KINDS and (found := _outer_products(plan, group)):
            group.ops = plan.sorted([*found, *group.ops])
            plan.group_of.update(dict.fromkeys(found, group))
            anchor = next(op for op in group.ops if not is_elementwise(op))
            group.rule = equation(group.ops, plan.live_out(group.ops), anchor)


def _outer_products(plan: Plan, group: Group) -> list[Operation]:
    read = (value.owner for op in group.ops if is_elementwise(op) for value in op.operands)
    found = dict.fromkeys(op for op in read if isinstance(op, Operation) and plan.free(op) and is_elementwise(op))
    return [op for op in found if _widens(op) and all(user in group.ops for user in plan.users(op.results[0]))]


def _widens(op: Operation) -> bool:
    """Whether the result certainly has more elements than each of the computed operands."""
    whole = _without_ones(op.results[0])
    parts = [_without_ones(value) for value in op.operands if not is_constant(value)]
    return whole is not None and all(part is not None and part != whole for part in parts)


def _without_ones(value: SSAValue) -> list[int | str] | None:
    """The dims that are not 1; None where the rank is not known."""
    dims = dims_of(value.type)
    return None if dims is None else [size for size in dims if size != 1]
