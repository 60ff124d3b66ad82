"""act(conv(x, w, b) + r): convolutions with bias, activation, residual, scale: whatever is elementwise after
them."""

from __future__ import annotations

from dsc.ir import Fact, has
from dsc.passes.fuse.anchored import form_around
from dsc.passes.fuse.plan import Plan


def form(plan: Plan, max_epilogue: int) -> None:
    """Group each convolution with its epilogue."""
    form_around(plan, "conv", lambda op: has(op, Fact.CONVOLUTION), max_epilogue)
