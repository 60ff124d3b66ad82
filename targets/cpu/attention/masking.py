"""What a mask does to scores, as far as it says before any product is computed that a key has no weight.

Scores are elementwise in the product ``p`` of queries and keys. Through sums, constant factors, choices and the like
they move by no more than ``slope * |p|``, so what they are where ``p`` is 0 tells, with a bound of the products, how
much they can differ: where one is that far below another of its row, its exponential is 0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from tvm import te, tirx
from tvm.ir import Expr
from xdsl.ir import SSAValue

from dsc.ir import OnnxOp, dims_of, element_of, onnx
from dsc.lower.te import lowered
from dsc.lower.workload import Workload, is_constant, is_scalar
from dsc.targets.cpu.attention.problem import Problem
from dsc.targets.cpu.inline import Inliner, Leaf, identity
from dsc.targets.kernel import Refusal


@dataclass(frozen=True, eq=False)
class Masking:
    """``|score(p) - score(0)| <= slope * |p|``, but for roundings."""

    slope: float
    stages: tuple[tuple[te.Tensor, float], ...]
    """What is rounded on the way from the product to the scores, and the slope of the scores in it."""
    axes: tuple[bool, ...]
    """Of the batch and the queries: whether the scores of a product of 0 vary along it."""

    @property
    def by_query(self) -> bool:
        """Whether queries have masks of their own, as causal ones."""
        return self.axes[-1]


def masking_of(workload: Workload, problem: Problem) -> Masking | Refusal:
    """What is known of the scores of the attention `problem` in `workload`; or why no key can be skipped by it."""
    if problem.chosen is not None:
        return Refusal("blocks of keys are chosen, none of which the mask removes")
    first, second = (op for op in workload.body if isinstance(op, onnx.MatMul))
    softmax = next(op for op in workload.body if isinstance(op, onnx.Softmax))
    if not _stay_zero(workload, problem, second.A):
        return Refusal("probabilities are changed after the softmax")
    walk = _Walk(workload, first.Y)
    reason = walk.back(softmax.input, 1.0)
    if reason is not None:
        return Refusal(reason)
    slope = max(walk.slopes)
    if not math.isfinite(slope):
        return Refusal("a scale that is no number")
    body = lowered(workload)
    varies = _varies(problem, problem.scores)
    if not varies[-1]:
        return Refusal("no mask: all keys of a query are treated alike")
    if problem.window is not None and not _varies(problem, body.tensor(_before_the_window(softmax.input)))[-1]:
        return Refusal("no mask but the window, of which kernels know without reading it")
    stages = tuple((body.tensor(value), factor) for value, factor in walk.stages)
    return Masking(slope, stages, varies[:-1])


class _Walk:
    """From the scores back to the product, by operators whose slope is known."""

    def __init__(self, workload: Workload, product: SSAValue) -> None:
        self._product = product
        self._computed = {product}
        """What is computed from the product."""
        for op in workload.body:
            if not isinstance(op, onnx.Shape) and any(operand in self._computed for operand in op.operands):
                self._computed.update(op.results)
        self.slopes: list[float] = []
        self.stages: list[tuple[SSAValue, float]] = []

    def back(self, value: SSAValue, slope: float) -> str | None:
        """Notes what `value` is made of, in which the scores have this slope; a reason where that is not known."""
        if value is self._product:
            self.slopes.append(slope)
            return None
        op = value.owner
        assert isinstance(op, OnnxOp)
        if element_of(value.type).dtype != np.float32:
            return f"{op.name} to another type than float32"
        self.stages.append((value, slope))
        steps = self._steps(op)
        if steps is None:
            return f"{op.name} between product and softmax"
        return next((found for each, factor in steps if (found := self.back(each, slope * factor))), None)

    def _steps(self, op: OnnxOp) -> list[tuple[SSAValue, float]] | None:
        """The operands that come from the product, and a bound of the slope in each."""
        operands = [value for value in op.operands if value in self._computed]
        if isinstance(op, onnx.Where):
            return None if op.condition in self._computed else [(value, 1.0) for value in operands]
        if isinstance(op, onnx.Max | onnx.Min):
            return [(value, 1.0) for value in operands]
        if len(operands) != 1:
            return None
        (value,) = operands
        if isinstance(op, onnx.Add | onnx.Sub | onnx.Tanh | onnx.Neg) or (
            isinstance(op, onnx.Clip) and value is op.input
        ):
            return [(value, 1.0)]
        if not isinstance(op, onnx.Mul | onnx.Div) or (isinstance(op, onnx.Div) and value is not op.A):
            return None
        factor = _number(op.B if value is op.A else op.A)
        if factor is None or (isinstance(op, onnx.Div) and factor == 0):
            return None
        return [(value, abs(factor) if isinstance(op, onnx.Mul) else 1 / abs(factor))]


def _stay_zero(workload: Workload, problem: Problem, weights: SSAValue) -> bool:
    """Whether all that is done to the probabilities is to choose 0 for whole queries, as the operator Attention does
    for those without keys: what is 0 stays so."""
    body = lowered(workload)
    while identity(body.tensor(weights)) != identity(problem.probabilities):
        op = weights.owner
        if not isinstance(op, onnx.Where) or (dims_of(op.condition.type) or (None,))[-1] != 1:
            return False
        zeros = [_number(value) == 0 for value in (op.X, op.Y)]
        if zeros.count(True) != 1:
            return False
        weights = op.Y if zeros[0] else op.X
    return True


def _before_the_window(scores: SSAValue) -> SSAValue:
    """The scores of an attention with a window, without it."""
    band = scores.owner
    assert isinstance(band, onnx.Where)
    before: SSAValue = band.X
    return before


def _number(value: SSAValue) -> float | None:
    constant = onnx.constant_value(value) if is_constant(value) and is_scalar(value) else None
    return None if constant is None else float(constant.reshape(()))


def _varies(problem: Problem, scores: te.Tensor) -> tuple[bool, ...]:
    """Along which axes of the batch, queries and keys scores of products of 0 vary."""
    shape = (*problem.batch, problem.queries, problem.keys)
    at = [tirx.Var(f"i{axis}", str(tirx.convert(size).ty)) for axis, size in enumerate(shape)]
    found: list[Expr] = []

    def read(tensor: te.Tensor) -> Leaf:
        def element(indices: Sequence[Expr]) -> Expr:
            found.extend(map(tirx.convert, indices))
            return tirx.const(0, str(tensor.dtype))

        return element

    leaves = {tensor: read(tensor) for tensor in problem.params}
    leaves[problem.product] = lambda _: tirx.const(0.0, "float32")
    found.append(Inliner(leaves).at(scores, at))
    used = [variable for each in found for variable in tirx.analysis.undefined_vars(each)]
    return tuple(any(variable.same_as(place) for variable in used) for place in at)
