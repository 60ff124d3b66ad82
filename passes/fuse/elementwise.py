"""f(g(x), y): chains of elementwise ops, and ops that only move elements on their way in."""

from __future__ import annotations

from functools import partial

from xdsl.ir import Operation, SSAValue

from dsc.ir import Fact, dims_of, has, is_constant, onnx, shape_of
from dsc.passes.fuse.anchored import claim
from dsc.passes.fuse.grow import grow_up
from dsc.passes.fuse.plan import Plan
from dsc.passes.fuse.roles import computes_sizes, is_elementwise


def form(plan: Plan, max_chain: int) -> None:
    """Group what is left of elementwise ops into chains of at least two, each from its last op upwards."""
    for op in reversed(list(plan.order)):
        if plan.free(op) and is_elementwise(op):
            chain = grow_up(plan, [op], max_chain - 1, partial(_joins, op.results[0]))
            if len(chain) > 1:
                claim(plan, "elementwise", None, chain)


def _joins(output: SSAValue, op: Operation) -> bool:
    """Whether an op before the chain is as cheap inside it.

    Ops that move elements cost nothing there, unless they change what is innermost: then reads are no longer
    contiguous. Elementwise ops are computed once for each element of the output, so they must not have fewer,
    or be cheap.
    """
    if has(op, Fact.AFFINE) or _repeats_pixels(op):
        by_constants = all(is_constant(v) for v in list(op.operands)[1:])
        return by_constants and not computes_sizes(op) and _keeps_innermost(op)
    return is_elementwise(op) and (has(op, Fact.CHEAP) or _as_many(op.results[0], output))


def _repeats_pixels(op: Operation) -> bool:
    """Whether an op enlarges images by taking the nearest pixel: reading the small image again is less than
    writing and reading the large one."""
    return isinstance(op, onnx.Resize) and op.attr("mode") == "nearest" and len(shape_of(op.X.type) or ()) == 4


def _keeps_innermost(op: Operation) -> bool:
    rank = len(shape_of(op.results[0].type) or ())
    perm = getattr(op, "perm", None)
    return perm is None or list(perm.get_values())[-1] == rank - 1


def _as_many(value: SSAValue, output: SSAValue) -> bool:
    """Whether two values have the same dims, in any order, as far as the types tell."""
    first, second = dims_of(value.type), dims_of(output.type)
    if first is None or second is None:
        return False
    return sorted(map(str, first)) == sorted(map(str, second))
