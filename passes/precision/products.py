"""Marking products whose factors may be rounded before they are multiplied."""

from __future__ import annotations

from xdsl.ir import Operation

from dsc.ir import FusionOp, Graph, OnnxOp, set_multiplied_as
from dsc.passes.precision.constants import is_float32
from dsc.passes.precision.ranges import Range, Ranges, factors, is_product


def mark(graph: Graph, ranges: Ranges, element: str) -> int:
    """Mark the top-level ops that have products of float32, where the factors stay in range; how many are."""
    count = 0
    for op in graph.ops():
        parts = op.block.ops if isinstance(op, FusionOp) else (op,)
        products = [part for part in parts if isinstance(part, OnnxOp) and _multiplies_float32(part)]
        if products and not any(ranges.of(v) == Range.WIDE for part in products for v in factors(part)):
            set_multiplied_as(op, element)
            count += 1
    return count


def _multiplies_float32(op: Operation) -> bool:
    return isinstance(op, OnnxOp) and is_product(op) and all(map(is_float32, factors(op)))
