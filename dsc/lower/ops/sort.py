"""Sorting by rank: where an element goes is how many come before it."""

from __future__ import annotations

from tvm import te, tirx
from tvm.ir import Expr

from dsc.ir import onnx
from dsc.lower.exprs import dims
from dsc.lower.registry import Call, lowers
from dsc.lower.tensors import is_float, normalize_axis


@lowers(onnx.TopK, values=[1])
def top_k(call: Call) -> list[te.Tensor]:
    """The k largest or smallest along an axis and their places; of equal ones the earlier first.

    Takes n^2 comparisons for n elements, all of them in parallel and without a branch.
    """
    x = call.inputs[0]
    (k,) = call.sizes(1)
    axis = normalize_axis(call.attr("axis"), len(x.shape))
    size = dims(x.shape)[axis]
    before = te.reduce_axis((0, size), "j")

    def ahead(a: Expr, b: Expr) -> Expr:
        """Whether a goes before b; NaN is the largest, and no NaN goes before another."""
        if call.attr("largest"):
            return tirx.And(tirx.EQ(b, b), tirx.Not(tirx.LE(a, b))) if is_float(x) else a > b
        return tirx.And(tirx.EQ(a, a), tirx.Not(tirx.GE(a, b))) if is_float(x) else a < b

    def rank(*i: Expr) -> Expr:
        mine, other = x(*i), x(*i[:axis], before, *i[axis + 1 :])
        counts = tirx.Select(before.var < i[axis], tirx.Not(ahead(mine, other)), ahead(other, mine))
        return te.sum(counts.astype("int32"), axis=before)

    ranks = te.compute(x.shape, rank, name="rank")
    at = te.reduce_axis((0, size), "at")

    def place(*i: Expr) -> Expr:
        hit = tirx.EQ(ranks(*i[:axis], at, *i[axis + 1 :]), i[axis].astype("int32"))
        return te.max(tirx.Select(hit, at.var.astype("int64"), tirx.const(0, "int64")), axis=at)

    shape = [k if a == axis else d for a, d in enumerate(x.shape)]
    places = te.compute(shape, place, name="topk_index")

    def value(*i: Expr) -> Expr:
        return x(*i[:axis], places(*i), *i[axis + 1 :])

    return [te.compute(shape, value, name="topk"), places]
