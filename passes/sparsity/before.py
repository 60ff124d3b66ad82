"""Puts ops before another one."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import DTypeLike
from xdsl.ir import Block, Operation, SSAValue

from dsc.ir import OnnxOp, dims_of, element_of_dtype, onnx
from dsc.ir.types import tensor_of_dims


@dataclass(frozen=True)
class Before:
    """In a block, ahead of one of its ops."""

    block: Block
    op: Operation
    added: list[Operation] = field(default_factory=list)
    """What was put there, in order."""

    def add(self, op: OnnxOp) -> SSAValue:
        """Its first result."""
        self.block.insert_op_before(op, self.op)
        self.added.append(op)
        return op.results[0]

    def constant(self, value: np.ndarray) -> SSAValue:
        """Of a few elements."""
        return self.add(onnx.Constant.make(value=value))

    def integers(self, *values: int) -> SSAValue:
        """A vector of int64."""
        return self.constant(np.array(values, np.int64))

    def cast(self, value: SSAValue, dtype: DTypeLike) -> SSAValue:
        """In another type."""
        return self.add(onnx.Cast.make(value, to=element_of_dtype(dtype).code))

    def positions(self, value: SSAValue, axis: int) -> SSAValue:
        """The numbers of the places along a dim of a value; axis: from the end."""
        dims = dims_of(value.type)
        assert dims is not None
        size = self.add(onnx.Shape.make(value, start=axis, end=axis + 1 or None))
        limit = self.add(onnx.Squeeze.make(size))
        zero, one = (self.constant(np.array(number, np.int64)) for number in (0, 1))
        type_ = tensor_of_dims(element_of_dtype(np.int64).mlir, [dims[axis]])
        return self.add(onnx.Range.make(zero, limit, one, result_types=[type_]))
