"""act(conv(x, w, b) + r): convolutions with bias, activation, residual, scale: whatever is elementwise after
them."""

from __future__ import annotations

from xdsl.ir import Operation

from dsc.ir import Fact, has, onnx
from dsc.passes.fuse.anchored import form_around
from dsc.passes.fuse.plan import Plan


def form(plan: Plan, max_epilogue: int) -> None:
    """Group each convolution with its epilogue."""
    form_around(plan, "conv", _is_anchor, max_epilogue)


def _is_anchor(op: Operation) -> bool:
    return has(op, Fact.CONVOLUTION) or isinstance(op, onnx.ConvInteger)
