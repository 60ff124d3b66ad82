"""f(pool(x)): pooling, global pooling too, with its epilogue."""

from __future__ import annotations

from xdsl.ir import Operation

from dsc.passes.fuse.anchored import form_around
from dsc.passes.fuse.plan import Plan
from dsc.passes.fuse.roles import POOLS, is_named


def form(plan: Plan, max_epilogue: int) -> None:
    """Group each pooling with its epilogue."""
    form_around(plan, "pool", _is_anchor, max_epilogue)


def _is_anchor(op: Operation) -> bool:
    return is_named(op, POOLS) and len(op.results) == 1
