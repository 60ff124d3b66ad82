"""f(reduce(g(x))): reductions with the elementwise ops they read, and those on their (smaller) results."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.ir import Operation

from dsc.ir import Fact, has
from dsc.passes.fuse.anchored import form_around
from dsc.passes.fuse.grow import grow_up, same_values
from dsc.passes.fuse.plan import Plan
from dsc.passes.fuse.roles import computes_sizes

_PROLOGUE = 8


def form(plan: Plan, max_epilogue: int) -> None:
    """Group each reduction with its prologue and epilogue."""
    form_around(plan, "reduction", _is_anchor, max_epilogue, _prologue)


def _is_anchor(op: Operation) -> bool:
    return has(op, Fact.REDUCTION) and not computes_sizes(op)


def _prologue(plan: Plan, op: Operation) -> Sequence[Operation]:
    return [o for o in grow_up(plan, [op], _PROLOGUE, same_values(op.operands[0])) if o is not op]
