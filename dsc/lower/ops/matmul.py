"""Matrix products."""

from __future__ import annotations

import operator
from collections.abc import Sequence

from tvm import te
from tvm.ir import Expr

from dsc.ir import onnx
from dsc.lower.exprs import Dim
from dsc.lower.registry import Call, lowers
from dsc.lower.tensors import broadcast_index, broadcast_shape, const_like, elementwise


def matmul(a: te.Tensor, b: te.Tensor, dtype: str, name: str = "matmul") -> te.Tensor:
    """numpy.matmul of any ranks, accumulated in `dtype`."""
    row, column = len(a.shape) > 1, len(b.shape) > 1
    batch = broadcast_shape(a.shape[:-2] or [1], b.shape[:-2] or [1]) if len(a.shape) > 2 or len(b.shape) > 2 else []
    k = te.reduce_axis((0, a.shape[-1]), "k")

    def element(*indices: Expr) -> Expr:
        outer, inner = indices[: len(batch)], list(indices[len(batch) :])
        i = [inner.pop(0)] if row else []
        j = [inner.pop(0)] if column else []
        left = a(*broadcast_index(a.shape[:-2], batch, outer), *i, k)
        right = b(*broadcast_index(b.shape[:-2], batch, outer), k, *j)
        return te.sum(left.astype(dtype) * right.astype(dtype), axis=k)

    shape: Sequence[Dim] = [*batch, *([a.shape[-2]] if row else []), *([b.shape[-1]] if column else [])]
    return te.compute(shape, element, name=name)


@lowers(onnx.MatMul)
def matmul_op(call: Call) -> te.Tensor:
    """numpy.matmul."""
    a, b = call.inputs
    return matmul(a, b, call.dtype())


@lowers(onnx.Gemm)
def gemm(call: Call) -> te.Tensor:
    """Alpha A B + beta C, A and B transposed where asked."""
    a, b, c = call.inputs
    k = te.reduce_axis((0, a.shape[0 if call.attr("transA") else 1]), "k")

    def element(i: Expr, j: Expr) -> Expr:
        left = a(k, i) if call.attr("transA") else a(i, k)
        right = b(j, k) if call.attr("transB") else b(k, j)
        return te.sum(left * right, axis=k)

    shape = [a.shape[1 if call.attr("transA") else 0], b.shape[0 if call.attr("transB") else 1]]
    result = te.compute(shape, element, name="gemm")
    alpha, beta = call.attr("alpha"), call.attr("beta")
    if alpha != 1:
        result = elementwise(lambda x: x * const_like(alpha, x), result, name="alpha")
    if c is not None and beta != 0:
        scaled = c if beta == 1 else elementwise(lambda x: x * const_like(beta, x), c, name="beta")
        result = elementwise(operator.add, result, scaled, name="bias")
    return result
