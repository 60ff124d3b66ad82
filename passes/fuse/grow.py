"""Growing a region from its anchor: epilogues after it, prologues before it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from xdsl.ir import Operation, SSAValue

from dsc.passes.fuse.plan import Plan
from dsc.passes.fuse.roles import broadcasts_into, is_elementwise, same_dims


def grow_down(plan: Plan, anchor: Operation, limit: int, before: Sequence[Operation] = ()) -> list[Operation]:
    """The anchor, the ops `before` it, and up to `limit` elementwise ops after it, such that no more values
    leave the region than leave the anchor and what is before it, at least one.

    Users join one at a time, in the order of the graph. Where a value has several users (x * sigmoid(x)),
    they join one after the other, and the last state in which few enough values leave is the one that counts.
    """
    region = [*before, anchor]
    outputs = max(1, len(plan.live_out(region)))
    after = [anchor]
    best = list(region)
    for _ in range(limit):
        joined = next((op for op in _users(plan, after) if _may_join(plan, region, after, op)), None)
        if joined is None:
            break
        region.append(joined)
        after.append(joined)
        if len(plan.live_out(region)) <= outputs:
            best = list(region)
    return best


def grow_up(
    plan: Plan, region: Iterable[Operation], limit: int, accept: Callable[[Operation], bool]
) -> list[Operation]:
    """The region and up to `limit` producers of its inputs, each used by the region only."""
    region = list(region)
    inputs = [v for op in region for v in op.operands]
    while inputs and limit > 0:
        op = inputs.pop(0).owner
        if not isinstance(op, Operation) or op in region or not plan.free(op) or not accept(op):
            continue
        if any(user not in region for result in op.results for user in plan.users(result)):
            continue
        if plan.is_convex([*region, op]):
            region.append(op)
            inputs.extend(op.operands)
            limit -= 1
    return region


def _users(plan: Plan, after: Sequence[Operation]) -> list[Operation]:
    found = {user for op in after for r in op.results for user in plan.users(r)}
    return plan.sorted(found.difference(after))


def _may_join(plan: Plan, region: Sequence[Operation], after: Sequence[Operation], op: Operation) -> bool:
    """Whether an op that uses the anchor's result, or what became of it, is elementwise and keeps its dims.

    All values after the anchor have its dims; so only the operands from elsewhere must not widen them.
    """
    if not plan.free(op) or not is_elementwise(op):
        return False
    like = after[0].results[0].type
    others = [v for v in op.operands if v.owner not in after]
    return all(broadcasts_into(v.type, like) for v in others) and plan.is_convex([*region, op])


def same_values(like: SSAValue) -> Callable[[Operation], bool]:
    """Accepts elementwise producers with the dims of `like`: each is computed once for each element that is
    read."""

    def accept(op: Operation) -> bool:
        return is_elementwise(op) and same_dims(op.results[0].type, like.type)

    return accept
