"""What the mask of an attention does to its scores: what they are where the product of queries and keys is 0."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from xdsl.ir import SSAValue

from dsc.ir import OnnxOp, element_of, is_constant, onnx
from dsc.passes.sparsity.before import Before

_PLAIN = (onnx.Add, onnx.Sub, onnx.Tanh, onnx.Neg, onnx.Clip, onnx.Where, onnx.Max, onnx.Min, onnx.Mul, onnx.Div,
          onnx.Cast, onnx.QuantizeLinear, onnx.DequantizeLinear)  # fmt: skip


def number(value: SSAValue) -> float | None:
    """Of a constant of one element."""
    constant = onnx.constant_value(value) if is_constant(value) else None
    return float(constant.reshape(())) if constant is not None and constant.size == 1 else None


@dataclass(frozen=True)
class Scores:
    """The steps of a region from a product to scores."""

    product: SSAValue
    scores: SSAValue

    def obstacle(self) -> OnnxOp | None:
        """A step of which it is not known what it does to the order of scores."""
        return next((op for op in self._steps() if not isinstance(op, _PLAIN) or self._factor(op) is None), None)

    def slope(self) -> float:
        """By what the scores move for each 1 of a product, where no step bends them."""
        found = 1.0
        for op in self._steps():
            found *= self._factor(op) or 0.0
        return found

    def __call__(self, made: Before, outside: Mapping[SSAValue, SSAValue]) -> SSAValue:
        """The scores of products of 0, in the shape that masks give them; without roundings to integers, which would
        not tell a key that is masked from others.

        outside: what stands there for the arguments of the region.
        """
        zero = made.constant(np.array(0, element_of(self.product.type).dtype))
        return _again(made, self.scores, {**outside, self.product: zero})

    def _steps(self) -> Iterator[OnnxOp]:
        """From the last to the first; of those that join two values which come from the product, one way."""
        value = self.scores
        while value is not self.product:
            op = value.owner
            assert isinstance(op, OnnxOp)
            yield op
            value = next(operand for operand in op.operands if self._leads_back(operand))

    def _leads_back(self, value: SSAValue) -> bool:
        op = value.owner
        return value is self.product or (isinstance(op, OnnxOp) and any(map(self._leads_back, op.operands)))

    def _factor(self, op: OnnxOp) -> float | None:
        """Of a step; None where it is not known."""
        if isinstance(op, onnx.Neg) or (isinstance(op, onnx.Sub) and self._leads_back(op.B)):
            return -1.0
        if not isinstance(op, onnx.Mul | onnx.Div):
            return 1.0
        if isinstance(op, onnx.Div) and self._leads_back(op.B):
            return None
        factor = number(op.B if self._leads_back(op.A) else op.A)
        if factor is None or not np.isfinite(factor) or factor == 0:
            return None
        return factor if isinstance(op, onnx.Mul) else 1 / factor


def _again(made: Before, value: SSAValue, known: dict[SSAValue, SSAValue]) -> SSAValue:
    """A value of a region outside of it, of other operands and so of other types."""
    if value in known:
        return known[value]
    op = value.owner
    assert isinstance(op, OnnxOp)
    if isinstance(op, onnx.DequantizeLinear) and isinstance(op.x.owner, onnx.QuantizeLinear):
        known[value] = _again(made, op.x.owner.x, known)
        return known[value]
    operands = [None if operand is None else _again(made, operand, known) for operand in op.node_inputs()]
    found = made.add(type(op).make(*operands, outputs=len(op.node_outputs()), **op.attrs()))
    known[value] = found
    return found


def copied(made: Before, value: SSAValue, known: dict[SSAValue, SSAValue]) -> SSAValue:
    """A value of a region outside of it, as it is."""
    if value in known:
        return known[value]
    op = value.owner
    assert isinstance(op, OnnxOp)
    for operand in op.operands:
        copied(made, operand, known)
    again = op.clone(value_mapper=known)
    made.add(again)
    known.update(zip(op.results, again.results, strict=True))
    return known[value]
