"""Signed bytes become unsigned ones, for machines that multiply unsigned by signed bytes.

A tensor of int8 with the zero point z is one of uint8 with 128 more in each byte, and the zero point z + 128. What
quantizes, dequantizes and multiplies takes the other zero point; what moves or compares bytes does not care. Where no
byte is negative, as after a Relu of a zero point of 0, it is one of uint8 as it is. No result changes by a bit, and no
kernel has to turn each byte as it reads it.
"""

from __future__ import annotations

from collections.abc import Iterator, Set
from dataclasses import dataclass

import numpy as np
from xdsl.dialects.builtin import TensorType
from xdsl.dialects.func import ReturnOp
from xdsl.ir import Operation, SSAValue, Use

from dsc.ir import Fact, Graph, OnnxOp, dims_of, element_of, element_of_dtype, has, is_constant, onnx, with_elements
from dsc.passes.base import PassRecord
from dsc.passes.integers.scales import FLOAT32

NAME = "int8 with zero point z => uint8 with zero point z + 128, or z where no byte is negative"
"""What fires, for each tensor."""
SHIFT = 128
_COMPARES = frozenset("Clip Concat Max MaxPool Min ReduceMax ReduceMin Where".split())
"""Operators that give bytes they were given, chosen by their order if not by their places."""
_ENCODED = onnx.QuantizeLinear, onnx.DequantizeLinear, onnx.ConvInteger, onnx.MatMulInteger
"""Operators that make a tensor by a zero point, or read one as their first operand."""
_ZERO_POINT = 2
"""The operand of those that is the zero point."""


def make_unsigned(graph: Graph, record: PassRecord) -> None:
    """Change every set of connected tensors that a product reads and that can be changed as a whole."""
    for tensors in list(_connected(graph)):
        if refused := _refuse(graph, tensors):
            first = next(iter(tensors)).owner
            assert isinstance(first, Operation)
            record.miss(NAME, first, refused)
        else:
            _Change(graph, 0 if _is_positive(graph, tensors) else SHIFT).apply(tensors)
            record.fire(NAME, len(tensors))


def _connected(graph: Graph) -> Iterator[Set[SSAValue]]:
    """The computed tensors of int8, in sets whose bytes pass from one to another; in the order of the graph."""
    met: set[SSAValue] = set()
    for op in graph.ops():
        for result in op.results:
            if _is_signed(result) and not is_constant(result) and result not in met:
                found = _spread(result)
                met |= found
                yield found


def _spread(value: SSAValue) -> Set[SSAValue]:
    """A tensor and those whose bytes are the same, or come together with its own."""
    found, pending = {value: None}, [value]
    while pending:
        for op in _around(pending.pop()):
            if _passes_on(op):
                new = (v for v in (*op.operands, *op.results) if _is_signed(v) and not is_constant(v))
                fresh = [v for v in new if v not in found]
                found |= dict.fromkeys(fresh)
                pending += fresh
    return found.keys()


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
    quantized = isinstance(op, onnx.QuantizeLinear) and _is_encoding_known(graph, op)
    if not _passes_on(op) and not quantized and _limits(graph, op) is None:
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


def _limits(graph: Graph, op: Operation) -> tuple[float, float] | None:
    """Between which numbers the floats are that an op casts to signed bytes; None where it does not, or they may be
    no bytes."""
    if not isinstance(op, onnx.Cast) or element_of(op.input.type).dtype != FLOAT32:
        return None
    clip = op.input.owner
    ends = clip.node_inputs()[1:] if isinstance(clip, onnx.Clip) else ()
    known = [end for end in map(graph.constant, ends) if end is not None]
    if len(known) < 2:
        return None
    low, high = (end.item() for end in known)
    return (low, high) if -SHIFT <= low <= high < SHIFT else None


def _is_encoding_known(graph: Graph, op: OnnxOp) -> bool:
    """Whether an op's zero point is constant, or 0, of a shape that is known."""
    zero = _zero_point(op)
    return -1 not in _shape_of_zero(op) if zero is None else graph.constant(zero) is not None


def _zero_point(op: OnnxOp) -> SSAValue | None:
    inputs = op.node_inputs()
    return inputs[_ZERO_POINT] if len(inputs) > _ZERO_POINT else None


def _shape_of_zero(op: OnnxOp) -> tuple[int, ...]:
    """The shape that a zero point of 0 has: that of the scale; -1 where a dim is not known."""
    if isinstance(op, (onnx.ConvInteger, onnx.MatMulInteger)):
        return ()
    dims = dims_of(op.operands[1].type)
    return (-1,) if dims is None else tuple(d if isinstance(d, int) else -1 for d in dims)


def _multiplies(op: Operation) -> bool:
    """Whether an op is a product for which the machine's instructions for bytes are: depthwise convolutions are not."""
    if isinstance(op, onnx.ConvInteger):
        dims = dims_of(op.w.type)
        return op.attr("group") == 1 or dims is None or dims[1] != 1
    return isinstance(op, onnx.MatMulInteger)


def _is_positive(graph: Graph, tensors: Set[SSAValue]) -> bool:
    """Whether no byte of connected tensors is negative, and no zero point of theirs."""
    makers = dict.fromkeys(value.owner for value in tensors)
    readers = dict.fromkeys(use.operation for value in tensors for use in value.uses)
    for op in makers:
        assert isinstance(op, OnnxOp)
        limits = _limits(graph, op)
        if not _passes_on(op) and (limits is None or limits[0] < 0):
            return False
    joined = (op for op in (*makers, *readers) if _passes_on(op))
    constants = [v for op in joined for v in op.operands if _is_signed(v) and is_constant(v)]
    constants += (v for op in readers if isinstance(op, _ENCODED) and (v := _zero_point(op)) is not None)
    arrays = (graph.constant(v) for v in constants)
    return all(array is not None and not (array < 0).any() for array in arrays)


@dataclass(frozen=True)
class _Change:
    """Makes tensors unsigned, and what makes and reads them ops on such."""

    graph: Graph
    shift: int
    """What each byte is more."""

    def apply(self, tensors: Set[SSAValue]) -> None:
        """Change connected tensors."""
        touched = dict.fromkeys(op for value in tensors for op in _around(value))
        for value in tensors:
            value._type = with_elements(value.type, np.uint8)
        for op in touched:
            assert isinstance(op, OnnxOp)
            if _passes_on(op):
                self._pass_on(op)
            elif isinstance(op, onnx.Cast):
                self._cast(op)
            else:
                self._encode(op)

    def _pass_on(self, op: OnnxOp) -> None:
        """What passes bytes on has constants among them."""
        for index, operand in enumerate(op.operands):
            if _is_signed(operand):
                op.operands[index] = self._inserted(op, self._shifted(operand))

    def _cast(self, op: onnx.Cast) -> None:
        """The rounded floats are whole numbers: adding to them is exact."""
        if self.shift:
            offset = self._inserted(op, np.array(self.shift, np.float32))
            added = onnx.Add.make(op.input, offset, node=op.node or None)
            _insert(op, added)
            op.operands[0] = added.results[0]
        _replace(op, type(op).make(op.operands[0], to=element_of_dtype(np.uint8).code, node=op.node or None))

    def _encode(self, op: OnnxOp) -> None:
        """Another zero point, for what makes or reads bytes by one."""
        first, second, *others = op.node_inputs()
        zero = _zero_point(op)
        array = np.full(_shape_of_zero(op), self.shift, np.uint8) if zero is None else self._shifted(zero)
        is_product = isinstance(op, (onnx.ConvInteger, onnx.MatMulInteger))
        made_zero = None if is_product and not array.any() else self._inserted(op, array)
        types = {"output_dtype": 0} if isinstance(op, onnx.QuantizeLinear) else {}  # that of the zero point
        _replace(
            op, type(op).make(first, second, made_zero, *others[1:], **(op.attrs() | types), node=op.node or None)
        )  # fmt: skip

    def _shifted(self, value: SSAValue) -> np.ndarray:
        """A constant of signed bytes as unsigned ones."""
        array = self.graph.constant(value)
        assert array is not None  # it was checked
        return (array.astype(np.int16) + self.shift).astype(np.uint8)

    def _inserted(self, op: OnnxOp, array: np.ndarray) -> SSAValue:
        """A constant before `op`."""
        constant = self.graph.make_constant(array, "unsigned")
        _insert(op, constant)
        return constant.results[0]


def _insert(op: Operation, new: Operation) -> None:
    assert op.parent is not None
    op.parent.insert_op_before(new, op)


def _replace(op: OnnxOp, new: OnnxOp) -> None:
    """Put an op in the place of another, whose results have the types that they are to have."""
    _insert(op, new)
    for before, after in zip(op.results, new.results, strict=True):
        after._type = before.type
        after.name_hint = before.name_hint
        before.replace_all_uses_with(after)
    assert op.parent is not None
    op.parent.erase_op(op)
