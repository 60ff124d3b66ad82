"""How large the integers of an input may be: less than the number of rows of the tables that they index."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from xdsl.ir import Operation, SSAValue

from dsc.ir import Fact, FusionOp, Graph, OnnxOp, dims_of, has, onnx

_ALONG_AXIS = (onnx.Gather, onnx.GatherElements, onnx.ScatterElements)


def index_bound(graph: Graph, value: SSAValue) -> int | None:
    """What the integers of `value` must be less than to index the smallest of the tables that they reach.

    Casts, changes of shape, choices, and additions of constants lie between. None where they index nothing.
    """
    return _Bounds(graph).of(value)


class _Bounds:
    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._known: dict[SSAValue, int | None] = {}

    def of(self, value: SSAValue) -> int | None:
        if value not in self._known:
            self._known[value] = None
            uses = [(use.operation, use.index) for use in value.uses]
            self._known[value] = _least(self._of_use(op, index, value) for op, index in uses)
        return self._known[value]

    def _of_use(self, op: Operation, index: int, value: SSAValue) -> int | None:
        if isinstance(op, FusionOp):
            return self.of(op.block.args[index])
        if not isinstance(op, OnnxOp):
            return None
        if isinstance(op, _ALONG_AXIS) and op.node_inputs()[1] is value:
            return _rows(op.operands[0], op.attr("axis", 0))
        if isinstance(op, onnx.GatherND) and op.node_inputs()[1] is value:
            return _smallest_of(op)
        if isinstance(op, onnx.OneHot) and op.node_inputs()[0] is value:
            depth = self._graph.constant(op.node_inputs()[1])
            return None if depth is None else int(depth.reshape(-1)[0])
        if isinstance(op, onnx.Add | onnx.Sub):
            return self._of_sum(op, index)
        return _least(self.of(result) for result in op.results) if _passes_on(op) else None

    def _of_sum(self, op: OnnxOp, index: int) -> int | None:
        """The bound of `x + c` less the largest c, that of `x - c` and the smallest."""
        bound, constant = self.of(op.results[0]), self._graph.constant(op.operands[1 - index])
        if bound is None or constant is None or not constant.size or (isinstance(op, onnx.Sub) and index):
            return None
        return bound + int(np.min(constant)) if isinstance(op, onnx.Sub) else bound - int(np.max(constant))


def _passes_on(op: OnnxOp) -> bool:
    """Whether integers of results are no larger than those of operands (of a product: where the other is 0 or 1)."""
    return has(op, Fact.SELECTS) or isinstance(op, onnx.Cast | onnx.Mul)


def _rows(table: SSAValue, axis: int) -> int | None:
    dims = dims_of(table.type)
    rows = dims[axis] if dims else None
    return rows if isinstance(rows, int) and rows > 0 else None


def _smallest_of(op: OnnxOp) -> int | None:
    """The smallest of the dims that the coordinates of a GatherND select from."""
    data, indices = (dims_of(v.type) for v in op.operands[:2])
    start = op.attr("batch_dims", 0)
    if not data or not indices or not isinstance(indices[-1], int) or indices[-1] < 0:
        return None
    return _least(d if isinstance(d, int) and d > 0 else None for d in data[start : start + indices[-1]])


def _least(bounds: Iterable[int | None]) -> int | None:
    return min((bound for bound in bounds if bound is not None), default=None)
