"""Weights of few bits, which folding would make floats of."""

from __future__ import annotations

from collections.abc import Iterator

from xdsl.ir import Operation, Use

from dsc.elements import integer_encoding
from dsc.ir import Graph, OnnxOp, element_of, onnx
from dsc.passes.canonicalize.facts import rank

MOST_BITS = 8
"""Of an integer that saves something over a float."""


def is_packed(graph: Graph, op: OnnxOp) -> bool:
    """Whether an op dequantizes a constant matrix of small integers that only products multiply by, or of which only
    rows are gathered."""
    if not isinstance(op, onnx.DequantizeLinear) or rank(op.x) != 2 or graph.constant(op.x) is None:
        return False
    encoding = integer_encoding(element_of(op.x.type).dtype)
    if encoding is None or encoding.bits > MOST_BITS or graph.constant(op.x_scale) is None:
        return False
    uses = list(_uses(op))
    return bool(uses) and all(map(_is_factor_or_table, uses))


def _uses(op: Operation) -> Iterator[Use]:
    """Uses of an op's result, through Transpose, and Cast to what a machine computes in."""
    for use in op.results[0].uses:
        if isinstance(use.operation, onnx.Transpose | onnx.Cast):
            yield from _uses(use.operation)
        else:
            yield use


def _is_factor_or_table(use: Use) -> bool:
    match use.operation:
        case onnx.MatMul():
            return use.index == 1
        case onnx.Gemm():
            return use.index == 1 and use.operation.attr("alpha") == 1
        case onnx.Gather():
            return use.index == 0
        case _:
            return False
