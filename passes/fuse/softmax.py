"""softmax(x * scale + mask): softmax with the elementwise ops it reads, and an epilogue."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.ir import Operation

from dsc.ir import Fact, has
from dsc.passes.fuse.anchored import form_around
from dsc.passes.fuse.grow import grow_up, same_values
from dsc.passes.fuse.plan import Plan

_PROLOGUE = 4


def form(plan: Plan, max_epilogue: int) -> None:
    """Group each softmax with its prologue and epilogue."""
    form_around(plan, "softmax", lambda op: has(op, Fact.SOFTMAX), max_epilogue, _prologue)


def _prologue(plan: Plan, op: Operation) -> Sequence[Operation]:
    return [o for o in grow_up(plan, [op], _PROLOGUE, same_values(op.operands[0])) if o is not op]
