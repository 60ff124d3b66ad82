"""Which tensors become unsigned: sets of them whose bytes pass from one to another, as a whole."""

from __future__ import annotations

from collections.abc import Iterator, Set

from xdsl.dialects.func import ReturnOp
from xdsl.ir import Operation, SSAValue, Use

from dsc.ir import Graph, OnnxOp, dims_of, is_constant, onnx
from dsc.passes.unsigned.operators import (
    cast_from,
    is_encoded,
    is_product,
    is_signed,
    passes_on,
    tables_of,
    zero_point,
)

SHIFT = 128
"""What makes unsigned bytes of signed ones, in their order."""


def connected(graph: Graph) -> Iterator[Set[SSAValue]]:
    """The computed tensors of int8, in sets whose bytes pass from one to another; in the order of the graph."""
    met: set[SSAValue] = set()
    for op in graph.ops():
        for result in op.results:
            if is_signed(result) and not is_constant(result) and result not in met:
                found = _spread(result)
                met |= found
                yield found


def _spread(value: SSAValue) -> Set[SSAValue]:
    """A tensor and those whose bytes are the same, or come together with its own."""
    found, pending = {value: None}, [value]
    while pending:
        for op in around(pending.pop()):
            if passes_on(op):
                new = [v for v in (*op.operands, *op.results) if is_signed(v) and not is_constant(v)]
                pending += (v for v in new if v not in found)
                found |= dict.fromkeys(new)
    return found.keys()


def around(value: SSAValue) -> list[Operation]:
    """What makes a tensor, and what reads it."""
    owner = [value.owner] if isinstance(value.owner, Operation) else []
    return [*owner, *(use.operation for use in value.uses)]


def refuse(graph: Graph, tensors: Set[SSAValue]) -> str | None:
    """Why connected tensors stay signed."""
    if not any(_gains(graph, use) for value in tensors for use in value.uses):
        return "no product of bytes reads it"
    reasons = (_refuse_maker(graph, value) or _refuse_uses(graph, value) for value in tensors)
    return next(filter(None, reasons), None)


def _refuse_maker(graph: Graph, value: SSAValue) -> str | None:
    op = value.owner
    if not isinstance(op, Operation):
        return "it is an input of the model"
    if passes_on(op) or cast_from(op) is not None:
        return None
    quantizes = isinstance(op, onnx.QuantizeLinear) and is_encoded(op) and _is_zero_known(graph, op)
    return None if quantizes else f"it is made by {_name(op)}"


def _refuse_uses(graph: Graph, value: SSAValue) -> str | None:
    return next(filter(None, (_refuse_use(graph, use) for use in value.uses)), None)


def _refuse_use(graph: Graph, use: Use) -> str | None:
    op = use.operation
    if isinstance(op, ReturnOp):
        return "it is an output of the model"
    if op.parent is not graph.body:
        return "it is read by the body of another op"
    if passes_on(op) or tables_of(op) or (is_encoded(op) and use.index == 0 and _is_zero_known(graph, op)):
        return None
    return f"it is read by {_name(op)}"


def _name(op: Operation) -> str:
    return op.name.removeprefix("onnx.")


def _is_zero_known(graph: Graph, op: OnnxOp) -> bool:
    """Whether a zero point is constant, or 0 and one can be given: it has the shape of the scale."""
    zero = zero_point(op)
    if zero is not None:
        return graph.constant(zero) is not None
    return is_product(op) or graph.constant(op.operands[1]) is not None


def _gains(graph: Graph, use: Use) -> bool:
    """Whether a tensor is read by a product that takes less time for unsigned bytes.

    Depthwise convolutions are computed in floats, of either sign; they do if the zero point, which is taken off each
    byte, becomes 0.
    """
    op = use.operation
    if not is_product(op):
        return False
    dims = dims_of(op.w.type) if isinstance(op, onnx.ConvInteger) else None
    if dims is None or op.attr("group") == 1 or dims[1] != 1:
        return True
    zero = zero_point(op)
    array = None if zero is None else graph.constant(zero)
    return array is not None and bool((array == -SHIFT).all())


def shift_of(graph: Graph, tensors: Set[SSAValue], positive: Set[SSAValue]) -> int:
    """What each byte of connected tensors becomes more: nothing where no byte, constants and zero points included, is
    negative."""
    if not tensors <= positive:
        return SHIFT
    ops = dict.fromkeys(op for value in tensors for op in around(value))
    joined = [v for op in ops if passes_on(op) for v in op.operands if is_signed(v) and is_constant(v)]
    zeros = [zero for op in ops if is_encoded(op) and (zero := zero_point(op)) is not None]
    arrays = map(graph.constant, (*joined, *zeros))
    return 0 if all(array is not None and (array >= 0).all() for array in arrays) else SHIFT
