"""Regions around one anchor: the anchor, an elementwise epilogue, and for some an elementwise prologue."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from xdsl.ir import Operation

from dsc.passes.fuse.equation import equation
from dsc.passes.fuse.grow import grow_down
from dsc.passes.fuse.plan import Group, Plan


def form_around(
    plan: Plan,
    kind: str,
    is_anchor: Callable[[Operation], bool],
    limit: int,
    before: Callable[[Plan, Operation], Sequence[Operation]] | None = None,
) -> None:
    """Make a group of each free anchor, the ops that `before` finds for it, and up to `limit` ops after
    it."""
    for op in list(plan.order):
        if plan.free(op) and is_anchor(op):
            prologue = before(plan, op) if before else ()
            claim(plan, kind, op, grow_down(plan, op, limit, prologue))


def claim(plan: Plan, kind: str, anchor: Operation | None, ops: Sequence[Operation]) -> Group:
    """Make a group, named by its equation."""
    ops = plan.sorted(ops)
    return plan.claim(ops, kind, equation(ops, plan.live_out(ops), anchor))
