"""Running sums and products."""

from __future__ import annotations

from collections.abc import Sequence

from tvm import te, tirx
from tvm.ir import Expr

from dsc.ir import onnx
from dsc.lower import floats
from dsc.lower.exprs import floordiv
from dsc.lower.registry import Call, lowers
from dsc.lower.tensors import cast, const_like

_SCAN_BLOCK = 32
"""Elements added one by one before sums of blocks are: near the square root of usual lengths, which is the best."""


@lowers(onnx.CumSum, onnx.CumProd, values=[1])
def cumulative(call: Call) -> te.Tensor:
    """Running sums or products along an axis: those of the blocks passed, and of the elements passed in the last."""
    x = call.inputs[0]
    (axis,) = call.integers(1)
    axis %= len(x.shape)
    size = x.shape[axis]
    exclusive, backwards = call.attr("exclusive"), call.attr("reverse")
    start = 0 if call.name == "CumSum" else 1
    reducer = te.comm_reducer(
        (lambda a, b: a + b) if start == 0 else (lambda a, b: a * b),
        lambda dtype: tirx.const(start, dtype),
        name="scan",
    )
    blocks = floordiv(size - 1, _SCAN_BLOCK) + 1  # of which TVM can tell that they hold element size - 1
    within, across = te.reduce_axis((0, _SCAN_BLOCK), "k"), te.reduce_axis((0, blocks), "b")
    member = te.reduce_axis((0, _SCAN_BLOCK), "m")

    def at(i: Sequence[Expr], place: Expr, taken: Expr) -> Expr:
        value = x(*i[:axis], tirx.min(place, size - 1), *i[axis + 1 :])
        return tirx.Select(floats.condition(tirx.And(taken, place < size)), value, const_like(start, value))

    def whole(*i: Expr) -> Expr:
        return reducer(at(i, i[axis] * _SCAN_BLOCK + member, tirx.const(True, "bool")), axis=[member])

    totals = te.compute([*x.shape[:axis], blocks, *x.shape[axis + 1 :]], whole, name="block")

    def passed(*i: Expr) -> Expr:
        value = totals(*i[:axis], across, *i[axis + 1 :])
        taken = across > i[axis] if backwards else across < i[axis]
        return reducer(tirx.Select(taken, value, const_like(start, value)), axis=[across])

    before = te.compute(totals.shape, passed, name="blocks")

    def last(*i: Expr) -> Expr:
        place = floordiv(i[axis], _SCAN_BLOCK) * _SCAN_BLOCK + within
        if backwards:
            taken = place > i[axis] if exclusive else place >= i[axis]
        else:
            taken = place < i[axis] if exclusive else place <= i[axis]
        return reducer(at(i, place, taken), axis=[within])

    inside = te.compute(x.shape, last, name="inside")

    def element(*i: Expr) -> Expr:
        passed_blocks = before(*i[:axis], floordiv(i[axis], _SCAN_BLOCK), *i[axis + 1 :])
        return passed_blocks + inside(*i) if start == 0 else passed_blocks * inside(*i)

    return cast(te.compute(x.shape, element, name="scan"), call.dtype())
