"""How large the values of a graph may become: which of them half precision holds as well as float32.

Of each value one of three things is known. Networks keep their activations near 1: what a product, a normalization or
a bounded function makes stays in the range of half precision, and so does what is only moved, added or scaled. Powers,
exponentials, sums and whole numbers do not. What a caller gives may be anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum

import numpy as np
from xdsl.dialects.builtin import BFloat16Type, Float16Type, Float32Type, Float64Type, IntegerType, TensorType
from xdsl.ir import Operation, SSAValue

from dsc.ir import Fact, FusionOp, Graph, OnnxOp, PackOp, UnpackOp, element_of, has, is_constant, onnx
from dsc.passes.precision.constants import Fit, fit


class Range(IntEnum):
    """What is known of the numbers in a tensor; the larger, the less may be done to them."""

    KEPT = 0
    """They stay in the range of half precision."""
    GIVEN = 1
    """They are the caller's. What a product makes of them is in range: weights are made for the numbers that come."""
    WIDE = 2
    """They may leave the range, or are whole numbers that must stay exact."""


_BOUNDED = frozenset("Atan Cos Erf HardSigmoid Sigmoid Sin Softsign Tanh".split())
_LIKE_OPERANDS = frozenset(
    """
    Abs Add Celu Ceil Clip Concat Elu Floor Gelu GridSample HardSwish LRN LeakyRelu Mean Mish Neg PRelu Pad ReduceMax
    ReduceMean ReduceMin Relu Resize Round Selu Shrink Sign Sqrt Sub Sum Swish ThresholdedRelu Where
    AveragePool GlobalAveragePool GlobalMaxPool MaxPool Max Min
    """.split()
)
"""The result is no larger than the operands, or a few times so."""
_FLOATS = (BFloat16Type, Float16Type, Float32Type, Float64Type)
_EXACT_BITS = 8
"""Integers of so many bits are exact in all types of half precision, or nearly so."""


class Ranges:
    """The range of every value of a graph, those within fusions included."""

    def __init__(self, graph: Graph, dtype: np.dtype[np.generic] | None) -> None:
        """dtype: in which constants are to be held; None where they stay what they are."""
        self._graph, self._dtype = graph, dtype
        self._known: dict[SSAValue, Range] = dict.fromkeys(graph.inputs, Range.GIVEN)
        self._fits: dict[SSAValue, Fit] = {}
        """Of constants that are floats."""
        for op in graph.ops():
            self._visit(op)

    def of(self, value: SSAValue) -> Range:
        """The range of a value at the top level, or in the body of a fusion at the top level."""
        return self._known.get(value, Range.WIDE)

    def _visit(self, op: Operation) -> None:
        if isinstance(op, FusionOp):
            self._known.update(zip(op.block.args, map(self.of, op.inputs), strict=True))
            for part in op.block.ops:
                self._visit(part)
            self._known.update(zip(op.outputs, map(self.of, op.yield_op.values), strict=True))
        elif len(op.results):
            self._known.update(dict.fromkeys(op.results, self._result(op)))

    def _result(self, op: Operation) -> Range:
        if is_constant(op.results[0]):
            return self._constant(op.results[0])
        if isinstance(op, PackOp | UnpackOp):
            return self.of(op.operands[0])
        if not isinstance(op, OnnxOp):
            return Range.WIDE
        if any(self._spoils(op, self._fits[v]) for v in op.operands if v in self._fits):
            return Range.WIDE
        return self._computed(op, [v for v in op.operands if _is_float(v) and not is_constant(v)])

    def _constant(self, value: SSAValue) -> Range:
        array = self._graph.constant(value)
        if array is not None and self._dtype is not None and _is_float(value):
            self._fits[value] = fit(array, self._dtype)
        return Range.KEPT if self._fits.get(value, Fit.WITHIN) is Fit.WITHIN else Range.WIDE

    def _spoils(self, op: OnnxOp, constant: Fit) -> bool:
        """Whether a constant of an op takes its result out of the range: a mask, or a scale that leaves few digits.

        What is added and compared may be tiny: regions have it in float32.
        """
        scales = is_product(op) or isinstance(op, onnx.Mul | onnx.Div)
        return constant is Fit.BEYOND or (constant is Fit.TINY and scales)

    def _computed(self, op: OnnxOp, operands: Sequence[SSAValue]) -> Range:
        """Of the result of an op with these floats among its operands; the others are constants in range."""
        ranges = list(map(self.of, operands))
        if is_product(op):
            return Range.WIDE if Range.WIDE in ranges else Range.KEPT
        if op.onnx_name in _BOUNDED or has(op, Fact.NORMALIZATION) or has(op, Fact.SOFTMAX):
            return Range.KEPT
        if isinstance(op, onnx.Mul):  # what is scaled back, x * rsqrt(mean(x^2)), is in range; a square is not
            return Range.WIDE if len(set(op.operands)) == 1 else min(ranges, default=Range.KEPT)
        if isinstance(op, onnx.Div):
            return Range.WIDE if is_constant(op.A) else self.of(op.A)
        if isinstance(op, onnx.Cast):
            return max(ranges, default=_of_integers(op.input))
        if op.onnx_name in _LIKE_OPERANDS or has(op, Fact.MOVES):
            return max(ranges, default=Range.KEPT)
        return Range.WIDE


def is_product(op: Operation) -> bool:
    """Whether an op sums products of two operands of one type of floats."""
    return has(op, Fact.PRODUCT) or has(op, Fact.CONVOLUTION) or op.name in ("onnx.Einsum", "onnx.Attention")


def factors(op: OnnxOp) -> list[SSAValue]:
    """What a product multiplies: its first two operands; all of an Einsum, the first three of an Attention."""
    count = {"Einsum": None, "Attention": 3}.get(op.onnx_name, 2)
    return [value for value in op.node_inputs()[:count] if value is not None]


def _of_integers(value: SSAValue) -> Range:
    element = element_of(value.type).mlir
    return Range.KEPT if isinstance(element, IntegerType) and element.width.data <= _EXACT_BITS else Range.WIDE


def _is_float(value: SSAValue) -> bool:
    type_ = value.type
    return isinstance(type_, TensorType) and isinstance(type_.element_type, _FLOATS)
