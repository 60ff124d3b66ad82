"""Giving ops float32 to compute with, and readers of half precision what it makes of their results."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from xdsl.dialects.builtin import Float32Type, Float64Type, TensorType
from xdsl.ir import Attribute, Operation, SSAValue

from dsc.ir import Fact, Graph, OnnxOp, WeightOp, element_of, has, is_constant, onnx, with_elements
from dsc.passes.driver import insert_after
from dsc.passes.widen.operators import is_half_tensor, may_widen


@dataclass
class Widener:
    """Visits the ops of a graph in order, and knows each value in both types."""

    graph: Graph
    _narrow: dict[SSAValue, TensorType[Attribute]] = field(default_factory=dict)
    """The results that are float32 now, with the type that the model gives them."""
    _rounded: dict[SSAValue, SSAValue] = field(default_factory=dict)
    """Those in the type of the model, where someone reads them so."""
    _wide: dict[SSAValue, SSAValue] = field(default_factory=dict)
    """What is in half precision, as float32."""

    def visit(self, op: Operation) -> bool:
        """Make `op` one on float32 if it may be, else give it what it is to read; whether it was made one."""
        if may_widen(op, self._is_half) and not self._only_moves(op):
            self._widen(op)
            return True
        for inner in op.walk():  # bodies of control flow compute in the model's type, on values from outside
            for index, value in enumerate(inner.operands):
                if value in self._narrow and not _takes_any_float(inner):
                    inner.operands[index] = self._as_in_the_model(value)
        return False

    def _is_half(self, value: SSAValue) -> bool:
        return value in self._narrow or is_half_tensor(value)

    def _only_moves(self, op: Operation) -> bool:
        """Whether the op moves elements of what is in half precision: that is less to move, and tables stay small."""
        return has(op, Fact.MOVES) and op.operands[0] not in self._narrow

    def _widen(self, op: Operation) -> None:
        for index, value in enumerate(op.operands):
            if is_half_tensor(value):
                op.operands[index] = self._as_float32(value)
        for result in op.results:
            assert isinstance(result.type, TensorType)
            self._narrow[result] = result.type
            result._type = with_elements(result.type, np.float32)

    def _as_float32(self, value: SSAValue) -> SSAValue:
        """A value of half precision as float32: exactly."""
        if value not in self._wide:
            made = self._constant(value) if is_constant(value) else _cast(value, with_elements(value.type, np.float32))
            self._wide[value] = self._insert(made, value)
        return self._wide[value]

    def _as_in_the_model(self, value: SSAValue) -> SSAValue:
        """A result that is float32 now, rounded to the type that the model gives it."""
        if value not in self._rounded:
            self._rounded[value] = self._insert(_cast(value, self._narrow[value]), value)
        return self._rounded[value]

    def _constant(self, value: SSAValue) -> Operation:
        """The twin of a constant. Of a weight, it is made when it is read: what is folded or dead never is."""
        type_ = with_elements(value.type, np.float32)
        if not isinstance(value.owner, WeightOp):
            array = self.graph.constant(value)
            assert array is not None
            return onnx.Constant.make(value=array.astype(np.float32), result_types=[type_])
        weights, name = self.graph.weights, value.owner.weight
        twin = weights.put(
            f"{name}.float32", np.float32, weights.shape(name), lambda: weights.get(name).astype(np.float32)
        )
        return WeightOp(twin, type_)

    def _insert(self, op: Operation, source: SSAValue) -> SSAValue:
        """Insert an op right after what makes `source`, so that all readers can share it."""
        insert_after(source, op)
        op.results[0].name_hint = source.name_hint
        return op.results[0]


def _takes_any_float(op: Operation) -> bool:
    """Whether an op gives the same for a value that is not rounded, or what is nearer to it."""
    if isinstance(op, onnx.Cast):
        return isinstance(element_of(op.out.type).mlir, Float32Type | Float64Type)
    return isinstance(op, onnx.Shape | onnx.Size)


def _cast(value: SSAValue, type_: TensorType[Attribute]) -> OnnxOp:
    return onnx.Cast.make(value, to=element_of(type_).code, result_types=[type_])
