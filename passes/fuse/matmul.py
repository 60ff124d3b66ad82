"""act(x @ w + b) + r: MatMul, MatMulInteger and Gemm with their epilogues, and with the dequantization of a weight."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.ir import Operation

from dsc.ir import Fact, OnnxOp, has, onnx
from dsc.passes.fuse.anchored import form_around
from dsc.passes.fuse.plan import Plan
from dsc.passes.weight_only.groups import is_grouped


def form(plan: Plan, max_epilogue: int) -> None:
    """Group each matrix product with its epilogue."""
    form_around(plan, "matmul", _is_anchor, max_epilogue, _dequantized_weight)


def _is_anchor(op: Operation) -> bool:
    return has(op, Fact.PRODUCT) or isinstance(op, onnx.MatMulInteger)


def _dequantized_weight(plan: Plan, product: Operation) -> Sequence[Operation]:
    """The dequantization of a product's weight, which its kernel does in registers."""
    owner = product.operands[1].owner
    return [owner] if isinstance(owner, OnnxOp) and is_grouped(plan.graph, owner) else []
