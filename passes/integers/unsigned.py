"""Signed bytes become unsigned ones, for machines that multiply unsigned by signed bytes.

A tensor of int8 with the zero point z is one of uint8 with 128 more in each byte, and the zero point z + 128. What
quantizes, dequantizes and multiplies takes the other zero point; what moves or compares bytes does not care. No result
changes, and no kernel has to turn each byte as it reads it.
"""

from __future__ import annotations

from collections.abc import Iterator, Set

import numpy as np
from xdsl.dialects.builtin import TensorType
from xdsl.dialects.func import ReturnOp
from xdsl.ir import Operation, SSAValue, Use

from dsc.ir import Fact, Graph, OnnxOp, dims_of, element_of, has, is_constant, onnx, with_elements
from dsc.passes.base import PassRecord

NAME = "int8 with zero point z => uint8 with zero point z + 128"
"""What fires, for each tensor."""
SHIFT = 128
_COMPARES = frozenset("Clip Concat Max MaxPool Min ReduceMax ReduceMin Where".split())
"""Operators that give bytes they were given, chosen by their order if not by their places."""
_ZERO_POINT = 2
"""The operand that is the zero point of what an op quantizes, dequantizes or multiplies from the left."""
_ENCODED = onnx.QuantizeLinear, onnx.DequantizeLinear, onnx.ConvInteger, onnx.MatMulInteger


def make_unsigned(graph: Graph, record: PassRecord) -> None:
    """Change every set of connected tensors that a product reads and that can be changed as a whole."""
    for tensors in list(_connected(graph)):
        refused = _refuse(graph, tensors)
        if refused:
            first = next(iter(tensors)).owner
            assert isinstance(first, Operation)
            record.miss(NAME, first, refused)
        else:
            record.fire(NAME, len(tensors))
            _change(graph, tensors)


def _connected(graph: Graph) -> Iterator[Set[SSAValue]]:
    """The computed tensors of int8, in sets whose bytes pass from one to another; in the order of the graph."""
    met: set[SSAValue] = set()
    for op in graph.ops():
        for result in op.results:
            if _is_signed(result) and not is_constant(result) and result not in met:
                found = _spread(result)
                met |= found.keys()
                yield found.keys()


def _spread(value: SSAValue) -> dict[SSAValue, None]:
    """A tensor and those whose bytes are the same, or come together with its own."""
    found, pending = {value: None}, [value]
    while pending:
        for op in _around(pending.pop()):
            if _passes_on(op):
                new = [v for v in (*op.operands, *op.results) if _is_signed(v) and not is_constant(v)]
                pending += (v for v in new if v not in found)
                found |= dict.fromkeys(new)
    return found


def _around(value: SSAValue) -> list[Operation]:
    """What makes a tensor, and what reads it."""
    owner = [value.owner] if isinstance(value.owner, Operation) else []
    return [*owner, *(use.operation for use in value.uses)]


def _passes_on(op: Operation) -> bool:
    """Whether the bytes that an op gives are those it was given, whatever number each stands for."""
    return isinstance(op, OnnxOp) and (has(op, Fact.MOVES) or op.onnx_name in _COMPARES)


def _is_signed(value: SSAValue) -> bool:
    return isinstance(value.type, TensorType) and element_of(value.type).dtype == np.int8


def _refuse(graph: Graph, tensors: Set[SSAValue]) -> str | None:
    """Why connected tensors stay signed."""
    reasons = (_refuse_maker(graph, value) or _refuse_uses(graph, value) for value in tensors)
    if found := next(filter(None, reasons), None):
        return found
    multiplied = any(_multiplies(use.operation) for value in tensors for use in value.uses)
    return None if multiplied else "no product of bytes reads it"


def _refuse_maker(graph: Graph, value: SSAValue) -> str | None:
    op = value.owner
    if not isinstance(op, OnnxOp):
        return "it is an input of the model"
    if not _passes_on(op) and not (isinstance(op, onnx.QuantizeLinear) and _is_encoding_known(graph, op)):
        return f"it is made by {op.onnx_name}"
    return None


def _refuse_uses(graph: Graph, value: SSAValue) -> str | None:
    return next(filter(None, (_refuse_use(graph, use) for use in value.uses)), None)


def _refuse_use(graph: Graph, use: Use) -> str | None:
    op = use.operation
    if isinstance(op, ReturnOp):
        return "it is an output of the model"
    if op.parent is not graph.body or not isinstance(op, OnnxOp):
        return "it is read by the body of another op"
    if _passes_on(op) or (isinstance(op, _ENCODED) and use.index == 0 and _is_encoding_known(graph, op)):
        return None
    return f"it is read by {op.onnx_name}"


def _is_encoding_known(graph: Graph, op: OnnxOp) -> bool:
    """Whether an op's zero point is constant, or 0, of a shape that is known."""
    zero = _zero_point(op)
    if zero is not None:
        return graph.constant(zero) is not None
    return -1 not in _shape_of_zero(op)


def _zero_point(op: OnnxOp) -> SSAValue | None:
    inputs = op.node_inputs()
    return inputs[_ZERO_POINT] if len(inputs) > _ZERO_POINT else None


def _shape_of_zero(op: OnnxOp) -> tuple[int, ...]:
    """The shape of a zero point that is absent: that of the scale; -1 where it is not known."""
    if isinstance(op, (onnx.ConvInteger, onnx.MatMulInteger)):
        return ()
    dims = dims_of(op.operands[1].type)
    return (-1,) if dims is None else tuple(d if isinstance(d, int) else -1 for d in dims)


def _multiplies(op: Operation) -> bool:
    """Whether an op is a product for which the machine's instructions for bytes are: depthwise convolutions are not."""
    if isinstance(op, onnx.ConvInteger):
        shape = dims_of(op.w.type)
        return op.attr("group") == 1 or shape is None or shape[1] != 1
    return isinstance(op, onnx.MatMulInteger)


def _change(graph: Graph, tensors: Set[SSAValue]) -> None:
    """Make connected tensors unsigned, and what makes and reads them ops on such."""
    touched = dict.fromkeys(op for value in tensors for op in _around(value))
    for value in tensors:
        value._type = with_elements(value.type, np.uint8)
    for op in touched:
        assert isinstance(op, OnnxOp)
        if _passes_on(op):
            for index, operand in enumerate(op.operands):
                if _is_signed(operand):  # of those the constants are left
                    op.operands[index] = _shifted(graph, op, operand)
        else:
            _encode(graph, op)


def _encode(graph: Graph, op: OnnxOp) -> None:
    """Put an op of another zero point in the place of `op`."""
    first, second, *others = op.node_inputs()
    zero = _zero_point(op)
    if zero is None:
        zero = _inserted(graph, op, np.full(_shape_of_zero(op), SHIFT, np.uint8))
    else:
        zero = _shifted(graph, op, zero)
    types = {"output_dtype": 0} if isinstance(op, onnx.QuantizeLinear) else {}  # that of the zero point
    made = type(op).make(first, second, zero, *others[1:], **(op.attrs() | types), node=op.node or None)
    block = op.parent
    assert block is not None
    block.insert_op_before(made, op)
    for old, new in zip(op.results, made.results, strict=True):
        new._type = old.type
        new.name_hint = old.name_hint
        old.replace_all_uses_with(new)
    block.erase_op(op)


def _shifted(graph: Graph, op: OnnxOp, value: SSAValue) -> SSAValue:
    """A constant of signed bytes as one of unsigned ones, before `op`."""
    array = graph.constant(value)
    assert array is not None  # it was checked
    return _inserted(graph, op, (array.astype(np.int16) + SHIFT).astype(np.uint8))


def _inserted(graph: Graph, op: OnnxOp, array: np.ndarray) -> SSAValue:
    constant = graph.make_constant(array, "unsigned")
    block = op.parent
    assert block is not None
    block.insert_op_before(constant, op)
    return constant.results[0]
