"""The layers of a model whose weights can be integers: products by constant matrices, and tables of rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from xdsl.ir import Operation, SSAValue, Use

from dsc.ir import Graph, OnnxOp, WeightOp, element_of, onnx, shape_of


@dataclass(frozen=True, eq=False)
class Layer:
    """A constant matrix of float32, with what reads it."""

    name: str
    """Of the node that reads it, or of the weight where that has none."""
    weight: WeightOp
    depth: int
    """The axis that products sum over, or along which a row of a table goes."""
    inputs: tuple[SSAValue, ...]
    """What is multiplied by it, one for each product."""


def layers_of(graph: Graph) -> list[Layer]:
    """Those of the top level, in the order of the graph. Weights that anything else reads are left out."""
    return [found for op in graph.ops() if isinstance(op, WeightOp) and (found := _layer(graph, op)) is not None]


def _layer(graph: Graph, op: WeightOp) -> Layer | None:
    if element_of(op.out.type).name != "FLOAT" or len(shape_of(op.out.type) or ()) != 2:
        return None
    readers = list(_readers(op.out, 0))
    depths = {depth for _, depth in readers}
    if len(depths) != 1 or None in depths or any(use.operation.parent is not graph.body for use, _ in readers):
        return None
    (depth,) = depths
    assert depth is not None
    first = readers[0][0].operation
    inputs = [use.operation.operands[0] for use, _ in readers if not isinstance(use.operation, onnx.Gather)]
    return Layer(_name(first, op), op, depth, tuple(dict.fromkeys(inputs)))


def _name(reader: Operation, weight: WeightOp) -> str:
    return (isinstance(reader, OnnxOp) and reader.node) or weight.weight


def _readers(value: SSAValue, rows: int) -> Iterator[tuple[Use, int | None]]:
    """Uses of a weight, through Transpose, each with the axis that it goes along; None where it is no layer.

    rows: the axis of the weight that is the first one of `value`.
    """
    for use in value.uses:
        op = use.operation
        match op:
            case onnx.Transpose() if list(op.attr("perm") or (1, 0)) == [1, 0]:
                yield from _readers(op.results[0], 1 - rows)
            case onnx.MatMul() if use.index == 1:
                yield use, rows
            case onnx.Gemm() if use.index == 1 and not op.attr("transA"):
                yield use, 1 - rows if op.attr("transB") else rows
            case onnx.Gather() if use.index == 0 and op.attr("axis") % 2 == 0:
                yield use, 1 - rows
            case _:
                yield use, None
