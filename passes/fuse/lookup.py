"""table[byte]: looking bytes up, with the conversion of what is looked up to an index."""

from __future__ import annotations

from xdsl.ir import Operation

from dsc.passes.fuse.anchored import claim
from dsc.passes.fuse.plan import Plan
from dsc.passes.fuse.roles import looks_up_bytes


def form(plan: Plan) -> None:
    """Group each lookup with its index, which nothing else reads."""
    for op in list(plan.order):
        if plan.free(op) and looks_up_bytes(op):
            index = op.operands[1].owner
            if isinstance(index, Operation) and plan.free(index) and plan.users(op.operands[1]) == [op]:
                claim(plan, "elementwise", None, [index, op])
