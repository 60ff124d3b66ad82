"""Weights of few bits, which folding would make floats of."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from xdsl.ir import Operation, SSAValue, Use

from dsc.elements import integer_encoding
from dsc.ir import Graph, OnnxOp, element_of, onnx
from dsc.passes.canonicalize.facts import rank
from dsc.passes.pattern import const, ops
from dsc.passes.rule import Match, Rule

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
    return _only_factor_or_table(op)


def _only_factor_or_table(op: Operation) -> bool:
    """Whether all uses of an op's result are such."""
    uses = list(_uses(op))
    return bool(uses) and all(map(_is_factor_or_table, uses))


class DequantizedByHand(Rule):
    """float32(q) * s => dq(q, s), q a constant matrix of bytes, s one number or for each row or column"""

    pattern = ops.Cast(const("q")) * const("s")

    def check(self, m: Match) -> str | None:
        q, s = m.array("q"), m.array("s")
        if q.ndim != 2 or q.dtype not in (np.int8, np.uint8) or s.dtype != np.float32:
            return "it makes no float32 of a matrix of bytes"
        if _axis(q, s) is None:
            return "s is not for each row or column"
        return None if _only_factor_or_table(m.root) else "it is more than a factor or a table"

    def rewrite(self, m: Match) -> SSAValue:
        axis, scales = _axis(m.array("q"), m.array("s")), m.array("s")
        scales = scales.reshape(-1) if scales.size > 1 else scales.reshape(())
        made: SSAValue = m.emit(onnx.DequantizeLinear, m.q, m.constant(scales, "scales"), None, axis=axis).out
        return made


def _axis(q: np.ndarray, s: np.ndarray) -> int | None:
    """The axis along which s has its elements; any where it has one."""
    rows, columns = q.shape
    if s.ndim > 2 or s.size not in (1, rows, columns):
        return None
    if s.size == 1 or s.shape in ((columns,), (1, columns)):
        return 1
    return 0 if s.shape == (rows, 1) else None


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


RULES: tuple[Rule, ...] = (DequantizedByHand(),)
"""What is rewritten before constants are folded, where weights are kept."""
