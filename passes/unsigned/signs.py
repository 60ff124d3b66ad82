"""Which tensors have no negative element, whatever the input is."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass, field

from xdsl.dialects.builtin import TensorType
from xdsl.ir import Operation, SSAValue

from dsc.ir import Graph, element_of, is_constant, onnx
from dsc.passes.unsigned.operators import cast_from, passes_on, zero_point


def not_negative(graph: Graph) -> Set[SSAValue]:
    """The computed tensors without a negative element."""
    signs = _Signs(graph)
    for op in graph.ops():
        if signs.are_kept(op):
            signs.found.update(op.results)
    return signs.found


@dataclass(frozen=True)
class _Signs:
    """What is known of the ops so far."""

    graph: Graph
    found: set[SSAValue] = field(default_factory=set)

    def are_kept(self, op: Operation) -> bool:
        """Whether the results of an op have no negative element. What is not negative is not so when rounded."""
        match op:
            case onnx.Relu():
                return True
            case onnx.Clip():
                low, high = (*op.node_inputs()[1:], None, None)[:2]
                kept = self._has(op.operands[0]) or (low is not None and self._has(low))
                return kept and (high is None or self._has(high))
            case onnx.DequantizeLinear():
                zero = zero_point(op)
                array = None if zero is None else self.graph.constant(zero)
                below = zero is None or (array is not None and not (array > 0).any())
                return below and self._has(op.x) and self._has(op.x_scale)
            case onnx.Cast():
                return self._has(op.input) and (_is_float(op) or cast_from(op) is not None)
            case onnx.Round():
                return self._has(op.X)
            case onnx.Add() | onnx.Mul() | onnx.Div():
                return _is_float(op) and self._have(*op.operands)  # integers wrap
            case _:
                return passes_on(op) and self._have(*_alike(op))

    def _have(self, *values: SSAValue) -> bool:
        # constants last: their data is read only where all depends on it
        return all(map(self._has, sorted(values, key=is_constant)))

    def _has(self, value: SSAValue) -> bool:
        """Whether a tensor, computed or constant, has no negative element."""
        if not is_constant(value):
            return value in self.found
        array = self.graph.constant(value)
        return array is not None and array.dtype.kind in "fiu" and bool((array >= 0).all())


def _is_float(op: Operation) -> bool:
    """Whether an op makes floats."""
    return element_of(op.results[0].type).dtype.kind == "f"


def _alike(op: Operation) -> list[SSAValue]:
    """The operands of the first result's type of elements."""
    result = op.results[0].type
    wanted = result.element_type if isinstance(result, TensorType) else None
    return [v for v in op.operands if isinstance(v.type, TensorType) and v.type.element_type == wanted]
