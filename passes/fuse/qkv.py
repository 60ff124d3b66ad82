"""split(x @ [wq wk wv] + [bq bk bv]): the projections of an attention become one product.

Three products of the same x with constant weights read x three times and are three kernels of a third of the
width. Weights of few bits are merged as they are: integers, scales and zero points have the same columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from xdsl.ir import Operation, SSAValue

from dsc.ir import Graph, OnnxOp, onnx, shape_of
from dsc.passes.base import PassRecord
from dsc.passes.driver import erase_if_dead, replace_op
from dsc.passes.fuse import attention
from dsc.passes.fuse.outline import sort_block
from dsc.passes.fuse.plan import Plan
from dsc.passes.weight_only.groups import is_grouped

RULE = "x @ wq + bq, x @ wk + bk, x @ wv + bv => split(x @ [wq wk wv] + [bq bk bv])"


@dataclass(frozen=True)
class _Projection:
    """x @ w (+ b), with w and b constant, or w the dequantization of constants."""

    product: OnnxOp
    x: SSAValue
    dequantize: OnnxOp | None
    weight: tuple[np.ndarray, ...]
    """Itself, or its integers, scales and zero points; all have its columns."""
    bias: np.ndarray | None
    output: OnnxOp


def merge(graph: Graph, record: PassRecord) -> None:
    """Merge the projections of every attention of the graph that has them."""
    plan = Plan(graph)
    found = [a for op in plan.order if (a := attention.find(plan, op)) is not None]
    for each in found:
        projections = _projections(graph, plan, each)
        if projections is not None:
            _rewrite(graph, projections)
            record.fire(RULE)
    if record.fired[RULE]:
        sort_block(graph.body)


def _projections(graph: Graph, plan: Plan, found: attention.Attention) -> list[_Projection] | None:
    """The projections of q, k and v, where they are of the same x and alike."""
    sources = [attention.source(plan, found, v) for v in (found.q, found.k, found.v)]
    matched = [_projection(graph, plan, s) for s in sources]
    all_of = [p for p in matched if p is not None]
    if len(all_of) != 3 or len({p.output for p in all_of}) != 3:
        return None
    return all_of if len({_kind(p) for p in all_of}) == 1 else None


def _kind(projection: _Projection) -> tuple[object, ...]:
    """What has to be the same for projections to be one."""
    parts = tuple((part.shape[0], part.dtype) for part in projection.weight)
    size = None if projection.dequantize is None else projection.dequantize.attr("block_size")
    return projection.x, parts, size, projection.bias is None


def _projection(graph: Graph, plan: Plan, value: SSAValue) -> _Projection | None:
    op = value.owner
    bias: np.ndarray | None = None
    if isinstance(op, onnx.Add):
        constants = [(v, graph.constant(v)) for v in op.operands]
        known = [(v, c) for v, c in constants if c is not None]
        if len(known) != 1 or known[0][1].size != max(known[0][1].shape[-1:], default=1):
            return None
        bias = known[0][1].reshape(-1)
        product = next(v for v in op.operands if v is not known[0][0]).owner
    else:
        product = op
    if not isinstance(op, OnnxOp) or not isinstance(product, onnx.MatMul):
        return None
    dequantize, weight = _weight(graph, product.B)
    shape = shape_of(product.A.type)
    if not weight or weight[0].ndim != 2 or shape is None:
        return None
    columns = weight[0].shape[1]
    if bias is not None:
        if bias.size not in (1, columns) or shape_of(op.out.type) != shape_of(product.out.type):
            return None
        bias = np.broadcast_to(bias, columns)
    if product is not op and len(plan.users(product.out)) != 1:
        return None
    return _Projection(product, product.A, dequantize, weight, bias, op)


def _weight(graph: Graph, value: SSAValue) -> tuple[OnnxOp | None, tuple[np.ndarray, ...]]:
    """What dequantizes a weight, if anything does, and its arrays; none of what is not constant."""
    op = value.owner
    dequantize = op if isinstance(op, OnnxOp) and is_grouped(graph, op) else None
    values = [value] if dequantize is None else list(dequantize.operands)
    arrays = [graph.constant(each) for each in values]
    return dequantize, tuple(array for array in arrays if array is not None)


def _rewrite(graph: Graph, projections: Sequence[_Projection]) -> None:
    first = projections[0]
    node = first.product.node or None
    weights = [v.product.operands[1].owner for v in projections]
    parts = zip(*(p.weight for p in projections), strict=True)
    new: list[Operation] = [graph.make_constant(np.concatenate(part, 1), "qkv.weight") for part in parts]
    if first.dequantize is not None:
        new.append(type(first.dequantize).make(*(op.results[0] for op in new), **first.dequantize.attrs()))
    merged = onnx.MatMul.make(first.x, new[-1].results[0], node=node)
    new.append(merged)
    if first.bias is not None:
        biases = [p.bias for p in projections if p.bias is not None]
        bias = graph.make_constant(np.concatenate(biases), "qkv.bias")
        merged = onnx.Add.make(merged.out, bias.results[0], node=node)
        new += [bias, merged]
    sizes = graph.make_constant(np.array([p.weight[0].shape[1] for p in projections], np.int64))
    split = onnx.Split.make(merged.out, sizes.results[0], axis=-1, outputs=3, node=node)
    new += [sizes, split]
    graph.body.insert_ops_before(new, first.product)
    for projection, part in zip(projections, split.results, strict=True):
        replace_op(projection.output, [part])
        erase_if_dead(projection.output)
    for weight in weights:
        if isinstance(weight, Operation):
            erase_if_dead(weight)
