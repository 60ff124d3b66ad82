"""act(x @ w + b) + r: MatMul, MatMulInteger and Gemm with their epilogues."""

from __future__ import annotations

from xdsl.ir import Operation

from dsc.ir import Fact, has, onnx
from dsc.passes.fuse.anchored import form_around
from dsc.passes.fuse.plan import Plan


def form(plan: Plan, max_epilogue: int) -> None:
    """Group each matrix product with its epilogue."""
    form_around(plan, "matmul", _is_anchor, max_epilogue)


def _is_anchor(op: Operation) -> bool:
    return has(op, Fact.PRODUCT) or isinstance(op, onnx.MatMulInteger)
