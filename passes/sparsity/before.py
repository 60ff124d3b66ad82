"""Puts ops before another one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import DTypeLike
from xdsl.ir import Block, Operation, SSAValue

from dsc.ir import OnnxOp, element_of_dtype, onnx
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

    def band(self, shape: SSAValue, dims: Sequence[int | str], below: int | None, above: int | None) -> SSAValue:
        """Whether a column is no more than `below` before a row and no more than `above` after it: elements of it are
        computed where they are needed, so that it is nowhere in memory. shape: as an operand, and its dims."""
        type_ = tensor_of_dims(element_of_dtype(np.bool_).mlir, dims)
        found = self.add(onnx.ConstantOfShape.make(shape, value=np.array([True]), result_types=[type_]))
        for upper, offset in ((0, above), (1, None if below is None else -below)):
            if offset is not None:
                diagonal = self.constant(np.array(offset, np.int64))
                found = self.add(onnx.Trilu.make(found, diagonal, upper=upper, result_types=[type_]))
        return found
