"""f(g(x), y): chains of elementwise ops, and ops that only move elements on their way in."""

from __future__ import annotations

from xdsl.ir import Operation, SSAValue

from dsc.passes.fuse.anchored import claim
from dsc.passes.fuse.grow import epilogue, grow_down, grow_up
from dsc.passes.fuse.plan import Plan
from dsc.passes.fuse.roles import RELABELLING, computes_sizes, is_elementwise, is_named, same_dims

_OPS_BEFORE = 16


def form(plan: Plan, max_chain: int) -> None:
    """Group what is left of elementwise ops into chains of at least two."""
    for op in list(plan.order):
        if not plan.free(op) or not is_elementwise(op):
            continue
        chain = grow_down(plan, [op], max_chain, epilogue)
        output = plan.live_out(chain)
        if len(output) != 1:
            continue
        chain = grow_up(plan, chain, _OPS_BEFORE, lambda p, like=output[0]: _reads(p, like))
        if len(chain) > 1 and len(plan.live_out(chain)) == 1:
            claim(plan, "elementwise", None, chain)


def _reads(op: Operation, like: SSAValue) -> bool:
    """Whether an op before the chain is as cheap inside it: elementwise of the same dims, or moving elements."""
    if is_named(op, RELABELLING):
        return not computes_sizes(op)
    return is_elementwise(op) and same_dims(op.results[0].type, like.type)
