"""f(pool(x)): pooling, global pooling too, with its epilogue."""

from __future__ import annotations

from xdsl.ir import Operation

from dsc.ir import Fact, has
from dsc.passes.fuse.anchored import form_around
from dsc.passes.fuse.plan import Plan


def form(plan: Plan, max_epilogue: int) -> None:
    """Group each pooling with its epilogue."""
    form_around(plan, "pool", _is_anchor, max_epilogue)


def _is_anchor(op: Operation) -> bool:
    return has(op, Fact.POOL) and len(op.results) == 1
