"""sparsify-attention: queries see the keys near them, or those that matter most, and no others. It changes results:
only who asks for it gets it.

The body of a region says it in plain operators, which choose between scores and -inf, so that the graph can be run and
exported at any stage; and the region says in attributes what they do, by which kernels leave out whole blocks of keys.
Where a mask may remove all keys that are left, as those of padding from queries in the padding, the query's
probabilities are 0 instead of NaN.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from xdsl.ir import Operation, SSAValue

from dsc.errors import UsageError
from dsc.ir import (
    FusionOp,
    Graph,
    KeptKeys,
    OnnxOp,
    attention_keep,
    attention_window,
    dims_of,
    element_of,
    is_constant,
    onnx,
    set_attention_keep,
    set_attention_window,
)
from dsc.passes.base import Pass, PassRecord
from dsc.passes.sparsity.before import Before
from dsc.passes.sparsity.chosen_keys import BLOCK, ChosenKeys, expanded
from dsc.passes.sparsity.masks import number

RULE = "softmax(scores) @ v => softmax(where(|i - j| <= window, scores, -inf)) @ v"
KEEP_RULE = "softmax(scores) @ v => softmax(where(kept(i / block, j / block), scores, -inf)) @ v"


@dataclass(frozen=True)
class SparsifyAttention(Pass):
    """Masks keys of attention: after `fuse`. A mask that the attention has, as a causal one, removes what it removes
    beside that.

    window: of self-attention, keys that lie further than so many positions from a query, on both sides.
    keep: all but this share of the blocks of keys that masks, and the window, leave to a block of queries: those that
        are estimated to matter most at run time, see `chosen_keys`.
    Raises UsageError for a window below 1, a share that is not between 0 and 1, and where there is neither.
    """

    name: ClassVar[str] = "sparsify-attention"

    window: int | None = None
    keep: float | None = None

    def __post_init__(self) -> None:
        if self.window is None and self.keep is None:
            raise UsageError(f"{self.name}: give it a window, a share of keys to keep, or both, as window=256 keep=0.2")
        if self.window is not None and self.window < 1:
            raise UsageError(f"{self.name}: window is a number of positions, 1 or more, not {self.window}")
        if self.keep is not None and not 0 < self.keep < 1:
            raise UsageError(f"{self.name}: keep is a share of keys, more than 0 and less than 1, not {self.keep}")

    def apply(self, graph: Graph, record: PassRecord) -> None:
        choice = ChosenKeys(graph)
        for fusion in list(attentions(graph)):
            reason = _refusal(fusion)
            if reason is None:
                self._sparsify(fusion, choice, record)
            else:
                rule = RULE if self.keep is None else KEEP_RULE
                record.miss(rule, _named(fusion), reason)
        choice.close()

    def _sparsify(self, fusion: FusionOp, choice: ChosenKeys, record: PassRecord) -> None:
        window, masked = self.window, _is_masked(_softmax(fusion).input)
        if window is not None and (reason := _nothing_outside(fusion, window)) is not None:
            record.miss(RULE, _named(fusion), reason)
            window = None
        kept: SSAValue | None = None
        if self.keep is not None:
            reason = choice.refusal(fusion, self.keep)
            chosen = choice.choose(fusion, self.keep, window) if reason is None else reason
            if isinstance(chosen, str):
                record.miss(KEEP_RULE, _named(fusion), chosen)
            else:
                kept = chosen
        if window is not None:
            _mask(fusion, lambda made, scores: _band(made, scores, window))
            set_attention_window(fusion, window)
            record.fire(RULE)
        if kept is not None and self.keep is not None:
            argument = fusion.block.insert_arg(kept.type, len(fusion.block.args))
            fusion.operands = [*fusion.operands, kept]
            _mask(fusion, lambda made, scores: expanded(made, argument, scores))
            set_attention_keep(fusion, KeptKeys(self.keep, BLOCK))
            record.fire(KEEP_RULE)
        if masked and (window is not None or kept is not None):
            _guard(fusion)


def _refusal(fusion: FusionOp) -> str | None:
    """Why no keys of an attention can be masked; or None."""
    if is_approximated(fusion):
        return "it is approximated already"
    body = list(fusion.block.ops)
    softmaxes = [op for op in body if isinstance(op, onnx.Softmax)]
    if len(softmaxes) != 1 or sum(isinstance(op, onnx.MatMul) for op in body) != 2:
        return "it is not two products and a softmax"
    changing = next((op for op in _after(softmaxes[0]) if not _keeps_zeros(op)), None)
    if changing is not None:
        return f"{changing.name} gives weight to what has no probability"
    return None


def _nothing_outside(fusion: FusionOp, window: int) -> str | None:
    """Why there is nothing outside a window; or None."""
    *_, queries, keys = dims_of(_softmax(fusion).input.type) or ("", "")
    if queries != keys or queries == "":
        return "queries and keys of different numbers: no key is at the place of a query"
    if isinstance(keys, int) and keys <= window + 1:
        return f"no key lies further than {window} from a query"
    return None


def is_approximated(op: Operation) -> bool:
    """Whether an attention leaves out keys on purpose."""
    return attention_window(op) is not None or attention_keep(op) is not None


def _softmax(fusion: FusionOp) -> OnnxOp:
    return next(op for op in fusion.block.ops if isinstance(op, onnx.Softmax))


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
        return any(number(a) == 0 and not is_constant(b) for a, b in ((op.X, op.Y), (op.Y, op.X)))
    if isinstance(op, onnx.Mul | onnx.Div):
        numbers = [number(value) for value in op.operands[isinstance(op, onnx.Div) :]]
        return any(number is not None and np.isfinite(number) and number != 0 for number in numbers)
    return False


def _mask(fusion: FusionOp, condition: Callable[[Before, SSAValue], SSAValue]) -> None:
    """Puts a choice between scores and -inf before the softmax."""
    softmax = _softmax(fusion)
    scores = softmax.input
    made = Before(fusion.block, softmax)
    low = made.constant(np.array(-np.inf, element_of(scores.type).dtype))
    softmax.operands[0] = made.add(onnx.Where.make(condition(made, scores), scores, low, result_types=[scores.type]))


def _guard(fusion: FusionOp) -> None:
    """Puts zeros for queries that may be left without any key after the softmax."""
    softmax = _softmax(fusion)
    probabilities = softmax.out
    if any(isinstance(use.operation, onnx.IsNaN) for use in probabilities.uses):
        return
    following = softmax.next_op
    assert following is not None
    made = Before(fusion.block, following)
    zero = made.constant(np.array(0, element_of(probabilities.type).dtype))
    test = onnx.IsNaN.make(probabilities)
    guard = onnx.Where.make(made.add(test), zero, probabilities, result_types=[probabilities.type])
    made.add(guard)
    probabilities.replace_uses_with_if(guard.out, lambda use: use.operation not in (test, guard))


def _band(made: Before, scores: SSAValue, window: int) -> SSAValue:
    """Whether each key is within the window of each query."""
    dims = dims_of(scores.type)
    assert dims is not None
    return made.band(made.add(onnx.Shape.make(scores, start=-2)), dims[-2:], window, window)


def _is_masked(scores: SSAValue) -> bool:
    """Whether anything but numbers is between the first product and the scores: that may remove keys."""
    op = scores.owner
    while isinstance(op, OnnxOp) and not isinstance(op, onnx.MatMul):
        computed = [value for value in op.operands if number(value) is None]
        if len(computed) != 1:
            return True
        op = computed[0].owner
    return not isinstance(op, onnx.MatMul)
