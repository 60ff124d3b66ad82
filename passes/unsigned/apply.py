"""Making tensors unsigned, and what makes and reads them ops on such."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass

import numpy as np
from xdsl.ir import Operation, SSAValue

from dsc.ir import Graph, OnnxOp, element_of_dtype, onnx, with_elements
from dsc.passes.driver import erase_if_dead
from dsc.passes.unsigned.decide import around
from dsc.passes.unsigned.operators import is_product, is_signed, passes_on, tables_of, zero_point


@dataclass(frozen=True)
class Change:
    """What is done to connected tensors, of which `decide` says that it may be done."""

    graph: Graph
    shift: int
    """What each byte becomes more."""

    def apply(self, tensors: Set[SSAValue]) -> None:
        """Make them unsigned."""
        touched = dict.fromkeys(op for value in tensors for op in around(value))
        for value in tensors:
            value._type = with_elements(value.type, np.uint8)
        for op in touched:
            assert isinstance(op, OnnxOp)
            if passes_on(op):
                self._constants(op)
            elif tables := tables_of(op):
                for table in tables:
                    self._turn(table)
            elif isinstance(op, onnx.Cast):
                self._cast(op)
            else:
                self._encode(op)

    def _constants(self, op: OnnxOp) -> None:
        """What passes bytes on has constants among them."""
        for index, operand in enumerate(list(op.operands)):
            if is_signed(operand):
                self._put(op, index, self._shifted(operand))

    def _turn(self, op: OnnxOp) -> None:
        """What is looked up for a byte is where the byte is now; negative indices count from the end."""
        table = self.graph.constant(op.operands[0])
        assert table is not None  # it was checked
        if self.shift:
            self._put(op, 0, np.roll(table, self.shift))

    def _put(self, op: OnnxOp, index: int, array: np.ndarray) -> None:
        """Another constant in the place of an operand."""
        source = op.operands[index].owner
        op.operands[index] = self._constant(op, array)
        assert isinstance(source, Operation)
        erase_if_dead(source)

    def _cast(self, op: OnnxOp) -> None:
        """What is cast are whole numbers: adding to them is exact."""
        source = op.operands[0]
        if self.shift:
            offset = self._constant(op, np.array(self.shift, np.float32))
            added = onnx.Add.make(source, offset, node=op.node or None)
            _insert(op, added)
            source = added.results[0]
        _replace(op, onnx.Cast.make(source, to=element_of_dtype(np.uint8).code, node=op.node or None))

    def _encode(self, op: OnnxOp) -> None:
        """The zero point is another."""
        first, second, *others = op.node_inputs()
        zero = self._zero_point(op, second)
        attributes = op.attrs()
        if isinstance(op, onnx.QuantizeLinear):
            attributes.pop("output_dtype", None)  # that of the zero point
        _replace(op, type(op).make(first, second, zero, *others[1:], **attributes, node=op.node or None))

    def _zero_point(self, op: OnnxOp, scale: SSAValue | None) -> SSAValue | None:
        """That of an op on unsigned bytes; of products None where it is 0: kernels then take nothing off."""
        zero = zero_point(op)
        if zero is not None:
            array = self._shifted(zero)
        else:
            scales = None if is_product(op) else self.graph.constant(scale)
            array = np.full(() if scales is None else scales.shape, self.shift, np.uint8)
        return None if is_product(op) and not array.any() else self._constant(op, array)

    def _shifted(self, value: SSAValue) -> np.ndarray:
        """A constant of signed bytes as unsigned ones."""
        array = self.graph.constant(value)
        assert array is not None  # it was checked
        return (array.astype(np.int16) + self.shift).astype(np.uint8)

    def _constant(self, op: OnnxOp, array: np.ndarray) -> SSAValue:
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
    sources = [operand.owner for operand in op.operands]
    assert op.parent is not None
    op.parent.erase_op(op)
    for source in sources:
        if isinstance(source, Operation):
            erase_if_dead(source)
