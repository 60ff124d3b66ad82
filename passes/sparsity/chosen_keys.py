"""Which blocks of keys each block of queries attends to: those that are estimated to matter most, at run time.

The mean of some queries times the mean of some keys estimates their scores (as block-sparse attention of long prompts
does: MInference, Jiang et al. 2024; SpargeAttn, Zhang et al. 2025). Of those that a mask leaves, a share is kept: the
block of keys at the place of the queries, and the first of all, to which trained models give what they have no other
use for (the "sink", Xiao et al. 2023), and then those of the largest estimates. Bounds of keys instead of means (Quest,
Tang et al. 2024) were no better where the first block is kept.

The best keys of each query alone cannot be had for less than all scores, which is half of the work.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from xdsl.ir import Operation, SSAValue

from dsc.ir import FusionOp, Graph, OnnxOp, attention_keep, dims_of, element_of, onnx
from dsc.ir.types import tensor_of_dims
from dsc.passes.fuse.outline import outline
from dsc.passes.fuse.plan import Plan
from dsc.passes.sparsity.before import Before
from dsc.passes.sparsity.masks import Scores, copied

BLOCK = 32
"""Queries, and keys, in a block. Blocks of 64 lose 2.5 dB of the output at equal shares, those of 16 gain 1.4, but have
four times as many pairs to choose from."""
_WEIGHTLESS = 106.0
"""How far below another of its row a score has no weight in float32, with some to spare."""
_MOST = 2.0**15
"""An estimate above all others, in any type: of products that large, the softmax chooses a single key."""
_SLACK = 1e-3
"""Of a block, which roundings of a share may add."""


@dataclass(frozen=True)
class _Mask:
    """What a mask does to blocks of keys."""

    added: SSAValue
    """``[batch, heads, blocks of queries or 1, blocks of keys]``, any of batch and heads 1 if one is for all: the most
    that it adds to a score, -inf for blocks all of whose keys it removes."""
    live: SSAValue | None
    """``bool [batch, heads, 1, keys]``: whether it leaves a key, if that is the same for all queries."""
    share: SSAValue | None
    """``[batch, heads, 1, blocks of keys]``: of the keys of a block, that it leaves; a little where it leaves none."""


@dataclass(frozen=True)
class Parts:
    """Of an attention."""

    queries: SSAValue
    """``[batch..., queries, depth]``, as the region has them."""
    keys: SSAValue
    """``[batch..., depth, keys]``"""
    scores: Scores
    aligned: bool
    """Whether key i is at the place of query i."""

    @staticmethod
    def of(attention: FusionOp) -> Parts:
        """Of a region of two products and a softmax."""
        first = next(op for op in attention.block.ops if isinstance(op, onnx.MatMul))
        softmax = next(op for op in attention.block.ops if isinstance(op, onnx.Softmax))
        *_, queries, keys = dims_of(first.Y.type) or ("", "")
        return Parts(first.A, first.B, Scores(first.Y, softmax.input), queries == keys != "")


class ChosenKeys:
    """Writes the choice of attentions of a graph ahead of them, each step the work of one kernel."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._kernels: list[tuple[Before, str, str]] = []
        self._masks: dict[Hashable, _Mask | None] = {}
        """Attentions of one model mostly have one mask."""

    def refusal(self, attention: FusionOp, keep: float) -> str | None:
        """Why nothing can be chosen for an attention; or None."""
        parts = Parts.of(attention)
        dims = dims_of(parts.scores.product.type) or ()
        if len(dims) not in (3, 4) or len(dims_of(parts.queries.type) or ()) != len(dims):
            return f"a product of {len(dims)} dims: the choice is for those of 3 and 4"
        if len(dims_of(parts.keys.type) or ()) != len(dims) or dims_of(parts.scores.scores.type) != dims:
            return "queries, keys and scores of different ranks"
        obstacle = parts.scores.obstacle()
        if obstacle is not None:
            return f"{obstacle.name} between product and softmax: it is not known what it does to estimates"
        queries, keys = dims[-2:]
        if isinstance(queries, int) and queries < BLOCK:
            return f"fewer queries than a block of {BLOCK}: finding keys for them would take as long as using all"
        if isinstance(keys, int):
            blocks = -(-keys // BLOCK)
            if max(np.ceil(keep * blocks - _SLACK), 1 + parts.aligned) >= blocks:
                return f"all of its {blocks} blocks of {BLOCK} keys would be kept"
        return None

    def choose(self, attention: FusionOp, keep: float, window: int | None) -> SSAValue | str:
        """``uint8 [batch..., blocks of queries, blocks of keys]``, 1 for those that are kept; or why there is none."""
        parts = Parts.of(attention)
        outside: dict[SSAValue, SSAValue] = dict(zip(attention.block.args, attention.inputs, strict=True))
        mask = self._mask(attention, parts, outside)
        if isinstance(mask, str):
            return mask
        rank = len(dims_of(parts.queries.type) or ())
        with self._kernel(attention, "reduction", "mean(queries)") as made:
            queries = _pooled(made, onnx.AveragePool, _of_rank_4(made, copied(made, parts.queries, dict(outside))), -2)
        with self._kernel(attention, "reduction", "mean(keys)") as made:
            keys = _of_rank_4(made, copied(made, parts.keys, dict(outside)))
            keys = _mean_of_live(made, _turned(made, keys), mask)
        with self._kernel(attention, "matmul", "mean(queries) @ mean(keys)") as made:
            estimate = made.add(onnx.MatMul.make(queries, _turned(made, keys)))
            slope = made.constant(np.array(parts.scores.slope(), element_of(estimate.type).dtype))
            estimate = made.add(onnx.Mul.make(estimate, slope))
        with self._kernel(attention, "elementwise", "first and own blocks above all, masked ones below") as made:
            estimate = _ordered(made, estimate, mask, parts.aligned, window)
        return self._best(attention, estimate, keep, rank)

    def close(self) -> None:
        """Makes regions of the kernels."""
        plan = Plan(self._graph)
        for made, kind, rule in self._kernels:
            ops = [op for op in made.added if not isinstance(op, onnx.Constant)]
            plan.claim(ops, kind, rule)
        outline(plan)

    @contextmanager
    def _kernel(self, attention: FusionOp, kind: str, rule: str) -> Iterator[Before]:
        made = Before(self._graph.body, attention)
        yield made
        self._kernels.append((made, kind, rule))

    def _mask(self, attention: FusionOp, parts: Parts, outside: dict[SSAValue, SSAValue]) -> _Mask | str | None:
        """That of an attention; None if it has none; or why it is not understood."""
        probe = Before(self._graph.body, attention)
        added = parts.scores(probe, outside)
        dims = [1] * (4 - len(dims_of(added.type) or ())) + list(dims_of(added.type) or ())
        key = _text(added, {})
        if dims[-1] == 1 or (dims[-2] != 1 and not parts.aligned) or key in self._masks:
            for op in reversed(probe.added):
                self._graph.body.erase_op(op)
        if dims[-1] == 1:
            return None
        if dims[-2] != 1 and not parts.aligned:
            return "queries and keys of different numbers, and a mask for each query: it may leave one nothing"
        if key not in self._masks:
            self._masks[key] = self._summary(attention, probe, added, by_query=dims[-2] != 1)
        return self._masks[key]

    def _summary(self, attention: FusionOp, probe: Before, added: SSAValue, by_query: bool) -> _Mask:
        added = _of_rank_4(probe, added)
        if by_query:
            highest = _pooled(probe, onnx.MaxPool, _pooled(probe, onnx.MaxPool, added, -1), -2)
            self._kernels.append((probe, "reduction", "highest(mask)"))
        else:
            self._kernels.append((probe, "elementwise", "mask"))
            with self._kernel(attention, "reduction", "highest(mask)") as made:
                highest = _pooled(made, onnx.MaxPool, added, -1)
        element = element_of(added.type).dtype
        with self._kernel(attention, "reduction", "below that, nothing has weight") as made:
            top = made.add(onnx.ReduceMax.make(highest, made.integers(-1), keepdims=1))
            top = made.add(onnx.Sub.make(top, made.constant(np.array(_WEIGHTLESS, element))))
        with self._kernel(attention, "elementwise", "where(highest > top, highest, -inf)") as made:
            low = made.constant(np.array(-np.inf, element))
            highest = made.add(onnx.Where.make(made.add(onnx.Greater.make(highest, top)), highest, low))
        if by_query:
            return _Mask(highest, None, None)
        with self._kernel(attention, "elementwise", "mask > top") as made:
            live = made.add(onnx.Greater.make(added, top))
        with self._kernel(attention, "reduction", "share(live)") as made:
            share = _pooled(made, onnx.AveragePool, made.cast(live, element), -1)
            share = made.add(onnx.Max.make(share, made.constant(np.array(0.5 / BLOCK, element))))
        return _Mask(highest, live, share)

    def _best(self, attention: FusionOp, estimate: SSAValue, keep: float, rank: int) -> SSAValue:
        """Those of which fewer than the share that is kept have a larger estimate: of equal ones, all or none."""
        low = np.array(-np.inf, element_of(estimate.type).dtype)
        with self._kernel(attention, "reduction", "ceil(keep * blocks that are left)") as made:
            left = made.cast(made.add(onnx.Greater.make(estimate, made.constant(low))), np.float32)
            count = made.add(onnx.ReduceSum.make(left, made.integers(-1), keepdims=1))
            share, slack, one = (made.constant(np.array(value, np.float32)) for value in (keep, _SLACK, 1))
            share = made.add(onnx.Sub.make(made.add(onnx.Mul.make(count, share)), slack))
            budget = made.add(onnx.Max.make(made.add(onnx.Ceil.make(share)), one))
        with self._kernel(attention, "reduction", "estimates above < budget") as made:
            mine, others = (made.add(onnx.Unsqueeze.make(estimate, made.integers(axis))) for axis in (-1, -2))
            above = made.cast(made.add(onnx.Less.make(mine, others)), np.float32)
            above = made.add(onnx.ReduceSum.make(above, made.integers(-1), keepdims=0))
            kept = made.add(onnx.Less.make(above, budget))
            kept = made.add(onnx.And.make(kept, made.add(onnx.Greater.make(estimate, made.constant(low)))))
            if rank == 3:
                kept = made.add(onnx.Squeeze.make(kept, made.integers(0)))
            return made.cast(kept, np.uint8)


def _mean_of_live(made: Before, keys: SSAValue, mask: _Mask | None) -> SSAValue:
    """Of ``[batch, heads, keys, depth]``: neighbours in memory mostly are those along the depth."""
    if mask is None or mask.live is None or mask.share is None:
        return _pooled(made, onnx.AveragePool, keys, -2)
    zero = made.constant(np.array(0, element_of(keys.type).dtype))
    left = made.add(onnx.Where.make(_turned(made, mask.live), keys, zero, result_types=[keys.type]))
    return made.add(onnx.Div.make(_pooled(made, onnx.AveragePool, left, -2), _turned(made, mask.share)))


def _ordered(made: Before, estimate: SSAValue, mask: _Mask | None, aligned: bool, window: int | None) -> SSAValue:
    """Estimates, above all others for blocks that are kept whatever they are, and -inf for those that are not."""
    element, dims = element_of(estimate.type).dtype, (dims_of(estimate.type) or ())[-2:]
    # no infinity: with the -inf of a mask it is that
    most, low, high = (made.constant(np.array(value, element)) for value in (_MOST, -np.inf, np.inf))
    shape = made.add(onnx.Shape.make(estimate, start=-2))
    row = made.add(onnx.Concat.make(made.integers(1), made.add(onnx.Shape.make(estimate, start=-1)), axis=0))
    kept = [made.add(onnx.Where.make(made.band(row, [1, dims[1]], None, 0), most, low))]
    if aligned:
        kept.append(made.add(onnx.Where.make(made.band(shape, dims, 0, 0), most, low)))
    unknown = made.add(onnx.IsNaN.make(estimate))
    estimate = made.add(onnx.Where.make(unknown, most, estimate, result_types=[estimate.type]))
    estimate = made.add(onnx.Max.make(estimate, *kept, result_types=[estimate.type]))
    if mask is not None:
        estimate = made.add(onnx.Add.make(estimate, mask.added, result_types=[estimate.type]))
    if window is not None:
        blocks = (window + BLOCK - 1) // BLOCK
        near = made.add(onnx.Where.make(made.band(shape, dims, blocks, blocks), high, low))
        estimate = made.add(onnx.Min.make(estimate, near, result_types=[estimate.type]))
    return estimate


def _pooled(made: Before, pool: type[OnnxOp], value: SSAValue, axis: int) -> SSAValue:
    """One of the last two dims by blocks; the last of which may have fewer elements."""
    kernel = [BLOCK if axis == each else 1 for each in (-2, -1)]
    return made.add(pool.make(value, kernel_shape=kernel, strides=kernel, ceil_mode=1))


def _turned(made: Before, value: SSAValue) -> SSAValue:
    """With its last two dims the other way round."""
    return made.add(onnx.Transpose.make(value, perm=[0, 1, 3, 2]))


def _of_rank_4(made: Before, value: SSAValue) -> SSAValue:
    missing = 4 - len(dims_of(value.type) or ())
    return made.add(onnx.Unsqueeze.make(value, made.integers(*range(missing)))) if missing else value


def _text(value: SSAValue, known: dict[SSAValue, Hashable]) -> Hashable:
    """The equation of a mask."""
    op = value.owner
    if value not in known and isinstance(op, OnnxOp):
        operands = tuple(_text(operand, known) for operand in op.operands)
        known[value] = op.name, tuple(sorted(op.properties.items(), key=lambda item: item[0])), operands
    return known.get(value, value)


def expanded(made: Before, kept: SSAValue, scores: SSAValue) -> SSAValue:
    """Whether each score is kept, of what is kept of blocks: never in memory, where a kernel has it inside."""
    dims = dims_of(scores.type)
    assert dims is not None
    rank = len(dims)
    scales = made.constant(np.array([1] * (rank - 2) + [BLOCK] * 2, np.float32))
    whole = onnx.Resize.make(
        kept, None, scales, mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor"
    )
    ends = made.add(onnx.Shape.make(scores, start=-2))
    axes, type_ = made.integers(rank - 2, rank - 1), tensor_of_dims(element_of(kept.type).mlir, dims)
    cut = onnx.Slice.make(made.add(whole), made.integers(0, 0), ends, axes, None, result_types=[type_])
    return made.cast(made.add(cut), np.bool_)


def choosing(graph: Graph) -> set[Operation]:
    """The ops that do nothing but to choose keys."""
    chosen = {op: op.operands[-1] for op in graph.ops() if attention_keep(op) is not None}
    found: set[Operation] = set()
    for op in reversed(list(graph.ops())):
        uses = [use for result in op.results for use in result.uses]
        if uses and all(use.operation in found or chosen.get(use.operation) in op.results for use in uses):
            found.add(op)
    return found
