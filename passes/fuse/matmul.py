"""act(x @ w + b) + r: MatMul and Gemm with their epilogues."""

from __future__ import annotations

from dsc.ir import Fact, has
from dsc.passes.fuse.anchored import form_around
from dsc.passes.fuse.plan import Plan


def form(plan: Plan, max_epilogue: int) -> None:
    """Group each matrix product with its epilogue."""
    form_around(plan, "matmul", lambda op: has(op, Fact.PRODUCT), max_epilogue)
