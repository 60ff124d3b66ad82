"""Growing a region from its anchor: epilogues after it, prologues before it."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from xdsl.ir import Operation, SSAValue

from dsc.passes.fuse.plan import Plan
from dsc.passes.fuse.roles import is_constant, is_elementwise, keeps_dims

Accept = Callable[[Operation, SSAValue], bool]
"""Whether an op that uses a value of the region may join it."""


def epilogue(op: Operation, value: SSAValue) -> bool:
    """Accepts elementwise ops whose results have the dims of the region's value that they use."""
    return is_elementwise(op) and keeps_dims(op, value)


def grow_down(
    plan: Plan, seed: Iterable[Operation], limit: int, accept: Accept = epilogue, outputs: int = 1
) -> list[Operation]:
    """The seed and up to `limit` ops after it, such that at most `outputs` values leave the region.

    Users join one at a time, in the order of the graph. Where a value has several users (x * sigmoid(x)), they join one
    after the other, and the last state in which few enough values leave is the one that counts.
    """
    region = list(seed)
    best = list(region)
    for _ in range(limit):
        joined = next((op for op in _users(plan, region) if _may_join(plan, region, op, accept)), None)
        if joined is None:
            break
        region.append(joined)
        if len(plan.live_out(region)) <= outputs:
            best = list(region)
    return best


def grow_up(plan: Plan, region: list[Operation], limit: int, accept: Callable[[Operation], bool]) -> list[Operation]:
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


def _users(plan: Plan, region: list[Operation]) -> list[Operation]:
    found = {user for op in region for r in op.results for user in plan.users(r)}
    return plan.sorted(found.difference(region))


def _may_join(plan: Plan, region: list[Operation], op: Operation, accept: Accept) -> bool:
    inside = set(region)
    used = [v for v in op.operands if v.owner in inside]
    return plan.free(op) and all(accept(op, v) for v in used) and plan.is_convex([*region, op])


def elementwise_of(dims_like: SSAValue) -> Callable[[Operation], bool]:
    """Accepts elementwise producers with the dims of `dims_like`: computed once for each element that is read."""
    from dsc.passes.fuse.roles import same_dims

    def accept(op: Operation) -> bool:
        return is_elementwise(op) and same_dims(op.results[0].type, dims_like.type)

    return accept


__all__ = ["Accept", "elementwise_of", "epilogue", "grow_down", "grow_up", "is_constant"]
