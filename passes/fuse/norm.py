"""layernorm(x + r): normalizations, with the additions before them and an elementwise epilogue.

The sum may be used elsewhere too (the residual stream of a transformer): then it is an output of the region
as well.
"""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.ir import Operation

from dsc.passes.fuse.anchored import form_around
from dsc.passes.fuse.plan import Plan
from dsc.passes.fuse.roles import NORMS, is_named, same_dims


def form(plan: Plan, max_epilogue: int) -> None:
    """Group each normalization with the sum it reads and its epilogue."""
    form_around(plan, "norm", lambda op: is_named(op, NORMS), max_epilogue, _sums_before)


def _sums_before(plan: Plan, norm: Operation) -> Sequence[Operation]:
    """The free Adds that make the normalized tensor: x + r, or (x + bias) + r. Only the last may be used
    elsewhere."""
    sums: list[Operation] = []
    value = norm.operands[0]
    while isinstance(op := value.owner, Operation) and is_named(op, frozenset({"Add"})) and plan.free(op):
        members = {norm, *sums}
        if sums and any(user not in members for user in plan.users(value)):
            break
        if not same_dims(op.results[0].type, norm.operands[0].type) or not plan.is_convex([*members, op]):
            break
        sums.append(op)
        value = op.operands[0] if isinstance(op.operands[0].owner, Operation) else op.operands[1]
    return sums
