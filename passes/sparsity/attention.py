"""sparsify-attention: queries see the keys near them and no others. It changes results: only who asks for it gets it.

The body of a region says it in plain operators, a band that chooses between scores and -inf, so that the graph can be
run and exported at any stage; and the region has the window as an attribute, by which kernels leave out whole blocks of
keys. Where a mask may remove all keys of a window, as those of padding from queries in the padding, the query's
probabilities are 0 instead of NaN.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from xdsl.ir import Block, Operation, SSAValue

from dsc.errors import UsageError
from dsc.ir import (
    FusionOp,
    Graph,
    OnnxOp,
    attention_window,
    dims_of,
    element_of,
    element_of_dtype,
    is_constant,
    onnx,
    set_attention_window,
)
from dsc.ir.types import tensor_of_dims
from dsc.passes.base import Pass, PassRecord

RULE = "softmax(scores) @ v => softmax(where(|i - j| <= window, scores, -inf)) @ v"


@dataclass(frozen=True)
class SparsifyAttention(Pass):
    """Masks keys of self-attention that lie further than `window` positions from a query, on both sides: after `fuse`.

    A mask that the attention has, as a causal one, removes what it removes beside that. Raises UsageError for a window
    below 1.
    """

    name: ClassVar[str] = "sparsify-attention"

    window: int

    def __post_init__(self) -> None:
        if self.window < 1:
            raise UsageError(f"{self.name}: window is a number of positions, 1 or more, not {self.window}")

    def apply(self, graph: Graph, record: PassRecord) -> None:
        for fusion in attentions(graph):
            reason = self._refusal(fusion)
            if reason is None:
                _mask(fusion, self.window)
                set_attention_window(fusion, self.window)
                record.fire(RULE)
            else:
                record.miss(RULE, _named(fusion), reason)

    def _refusal(self, fusion: FusionOp) -> str | None:
        if attention_window(fusion) is not None:
            return "it has a window already"
        body = list(fusion.block.ops)
        softmaxes = [op for op in body if isinstance(op, onnx.Softmax)]
        if len(softmaxes) != 1 or sum(isinstance(op, onnx.MatMul) for op in body) != 2:
            return "it is not two products and a softmax"
        scores = softmaxes[0].input
        *_, queries, keys = dims_of(scores.type) or ("", "")
        if queries != keys or queries == "":
            return "queries and keys of different numbers: no key is at the place of a query"
        if isinstance(keys, int) and keys <= self.window + 1:
            return f"no key lies further than {self.window} from a query"
        changing = next((op for op in _after(softmaxes[0]) if not _keeps_zeros(op)), None)
        if changing is not None:
            return f"{changing.name} gives weight to what has no probability"
        return None


def attentions(graph: Graph) -> Iterator[FusionOp]:
    """The regions that are attentions, in the order of the graph."""
    return (op for op in graph.ops() if isinstance(op, FusionOp) and op.kind.data == "attention")


def name_of(attention: FusionOp) -> str:
    """The name of the node that it comes from; "" where its nodes have none."""
    named = _named(attention)
    return named.node if isinstance(named, OnnxOp) else ""


def _named(fusion: FusionOp) -> Operation:
    """The op by whose node an attention is known: the softmax, if it has a name."""
    named = [op for op in fusion.block.ops if isinstance(op, OnnxOp) and op.node]
    return next((op for op in named if isinstance(op, onnx.Softmax)), named[0] if named else fusion)


def _after(softmax: OnnxOp) -> Iterator[OnnxOp]:
    """What is made of the probabilities, up to the product with values."""
    pending, seen = [softmax.out], {softmax.out}
    while pending:
        for use in pending.pop().uses:
            op = use.operation
            if isinstance(op, OnnxOp) and not isinstance(op, onnx.MatMul) and op.results[0] not in seen:
                yield op
                pending.append(op.results[0])
                seen.add(op.results[0])


def _keeps_zeros(op: OnnxOp) -> bool:
    """Whether a weight of 0 stays 0: it does through quantization, by whatever scale and zero point."""
    if isinstance(op, onnx.Cast | onnx.QuantizeLinear | onnx.DequantizeLinear | onnx.IsNaN):
        return True
    if isinstance(op, onnx.Where):  # zeros for whole queries, or for what is NaN
        return any(_number(a) == 0 and not is_constant(b) for a, b in ((op.X, op.Y), (op.Y, op.X)))
    if isinstance(op, onnx.Mul | onnx.Div):
        numbers = [_number(value) for value in op.operands[isinstance(op, onnx.Div) :]]
        return any(number is not None and np.isfinite(number) and number != 0 for number in numbers)
    return False


def _number(value: SSAValue) -> float | None:
    constant = onnx.constant_value(value) if is_constant(value) else None
    return float(constant.reshape(())) if constant is not None and constant.size == 1 else None


def _mask(fusion: FusionOp, window: int) -> None:
    """Puts the band before the softmax, and zeros for queries that may be left without any key after it."""
    block = fusion.block
    softmax = next(op for op in block.ops if isinstance(op, onnx.Softmax))
    scores, probabilities = softmax.input, softmax.out
    made = _Before(block, softmax)
    low = made.constant(np.array(-np.inf, element_of(scores.type).dtype))
    near = _band(made, scores, window)
    softmax.operands[0] = made.add(onnx.Where.make(near, scores, low, result_types=[scores.type]))
    if not _is_masked(scores) or any(isinstance(use.operation, onnx.IsNaN) for use in probabilities.uses):
        return
    following = softmax.next_op
    assert following is not None
    made = _Before(block, following)
    zero = made.constant(np.array(0, element_of(probabilities.type).dtype))
    test = onnx.IsNaN.make(probabilities)
    guard = onnx.Where.make(made.add(test), zero, probabilities, result_types=[probabilities.type])
    made.add(guard)
    probabilities.replace_uses_with_if(guard.out, lambda use: use.operation not in (test, guard))


@dataclass(frozen=True)
class _Before:
    """Puts ops before another one."""

    block: Block
    op: Operation

    def add(self, op: OnnxOp) -> SSAValue:
        """Its result."""
        self.block.insert_op_before(op, self.op)
        return op.out

    def constant(self, value: np.ndarray) -> SSAValue:
        return self.add(onnx.Constant.make(value=value))


def _band(made: _Before, scores: SSAValue, window: int) -> SSAValue:
    """Whether each key is within the window of each query: elements of it are computed where they are needed, so that
    it is nowhere in memory."""
    dims = dims_of(scores.type)
    assert dims is not None
    type_ = tensor_of_dims(element_of_dtype(np.bool_).mlir, dims[-2:])
    shape = made.add(onnx.Shape.make(scores, start=-2))
    band = made.add(onnx.ConstantOfShape.make(shape, value=np.array([True]), result_types=[type_]))
    for upper, offset in ((0, window), (1, -window)):
        diagonal = made.constant(np.array(offset, np.int64))
        band = made.add(onnx.Trilu.make(band, diagonal, upper=upper, result_types=[type_]))
    return band


def _is_masked(scores: SSAValue) -> bool:
    """Whether anything but numbers is between the first product and the scores: that may remove keys."""
    op = scores.owner
    while isinstance(op, OnnxOp) and not isinstance(op, onnx.MatMul):
        computed = [value for value in op.operands if _number(value) is None]
        if len(computed) != 1:
            return True
        op = computed[0].owner
    return not isinstance(op, onnx.MatMul)
