"""layernorm(x + r): normalizations, with the additions before them and an elementwise epilogue.

The sum may be used elsewhere too (the residual stream of a transformer): then it is an output of the region
as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeGuard

from xdsl.ir import Operation, SSAValue

from dsc.ir import Fact, has, onnx
from dsc.passes.fuse.anchored import form_around
from dsc.passes.fuse.plan import Plan
from dsc.passes.fuse.roles import same_dims


def form(plan: Plan, max_epilogue: int) -> None:
    """Group each normalization with the sum it reads and its epilogue."""
    form_around(plan, "norm", lambda op: has(op, Fact.NORMALIZATION), max_epilogue, _sums_before)


def _sums_before(plan: Plan, norm: Operation) -> Sequence[Operation]:
    """The free Adds that make the normalized tensor: x + r, or (x + y) + r. Only the last may be used
    elsewhere."""
    target = norm.operands[0]
    last = target.owner
    if not _may_join(last, plan, [norm], target):
        return []
    for value in last.operands:
        first = value.owner
        used_here_only = set(plan.users(value)) == {last}
        if used_here_only and _may_join(first, plan, [norm, last], target):
            return [first, last]
    return [last]


def _may_join(op: object, plan: Plan, region: list[Operation], like: SSAValue) -> TypeGuard[Operation]:
    return (
        isinstance(op, onnx.Add)
        and plan.free(op)
        and same_dims(op.out.type, like.type)
        and plan.is_convex([*region, op])
    )
