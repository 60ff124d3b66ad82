"""The constant weights of products and convolutions in a model as it came, before any pass."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from xdsl.ir import SSAValue

from dsc.elements import computed
from dsc.ir import Graph, OnnxOp, onnx

_ROLES: Mapping[type[OnnxOp], tuple[str, str | None]] = {
    onnx.MatMul: ("B", None),
    onnx.Gemm: ("B", None),
    onnx.Conv: ("W", None),
    onnx.MatMulInteger: ("B", "b_zero_point"),
    onnx.ConvInteger: ("w", "w_zero_point"),
    onnx.QLinearMatMul: ("b", "b_zero_point"),
    onnx.QLinearConv: ("w", "w_zero_point"),
}
"""What multiplies by a weight, the operand that is one, and that which has its zero point."""
_FILTERS = (onnx.Conv, onnx.ConvInteger, onnx.QLinearConv)


@dataclass(frozen=True)
class StoredFactor:
    """A weight, with 0 where it stands for 0, and what multiplies by it."""

    op: OnnxOp
    data: np.ndarray
    axis: int
    """Of the weight's outputs."""


def stored_factors(graph: Graph) -> Iterator[StoredFactor]:
    """All weights that are matrices, or filters of convolutions, behind DequantizeLinear and Transpose too.

    Those with several zero points are left out.
    """
    for op in graph.ops():
        if not isinstance(op, OnnxOp) or type(op) not in _ROLES:
            continue
        weight, zero = _ROLES[type(op)]
        data = _data(graph, getattr(op, weight), None if zero is None else getattr(op, zero))
        if data is not None and (data.ndim == 2 or isinstance(op, _FILTERS)):
            rows = isinstance(op, _FILTERS) or (isinstance(op, onnx.Gemm) and op.attr("transB", 0))
            yield StoredFactor(op, data, 0 if rows else 1)


def _data(graph: Graph, value: SSAValue, zero: SSAValue | None) -> np.ndarray | None:
    """The constant behind a value, less its zero point; None where it is computed."""
    match value.owner:
        case onnx.Transpose() as op:
            before = _data(graph, op.operands[0], zero)
            return None if before is None else before.transpose(op.attr("perm") or range(before.ndim)[::-1])
        case onnx.DequantizeLinear() as op if zero is None:
            return _data(graph, op.x, op.x_zero_point)
    data = graph.constant(value)
    if data is None or zero is None:
        return data
    zeros = graph.constant(zero)
    values = np.unique(computed(zeros)) if zeros is not None else np.zeros(0)
    if values.size != 1:
        return None
    return data if values[0] == 0 else computed(data).astype(np.int32) - np.int32(values[0])
