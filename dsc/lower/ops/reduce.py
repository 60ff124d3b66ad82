"""Reductions over axes, softmax and its like."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from tvm import te, tirx
from tvm.ir import Expr

from dsc.ir import onnx
from dsc.lower import floats, functions
from dsc.lower.exprs import Dim, equal
from dsc.lower.registry import Call, lowers
from dsc.lower.tensors import cast, const_like, divisor, dtype_of, elementwise, is_float, normalize_axis

Reducer = Callable[..., Expr]

_LARGEST: Reducer = te.comm_reducer(floats.larger, lambda dtype: tirx.const(-math.inf, dtype), name="max")
_SMALLEST: Reducer = te.comm_reducer(floats.smaller, lambda dtype: tirx.const(math.inf, dtype), name="min")
_PRODUCT = te.comm_reducer(lambda a, b: a * b, lambda dtype: tirx.const(1, dtype), name="prod")
floats.register_reducers()


def reduce(
    reducer: Reducer,
    of: Callable[..., Expr],
    shape: Sequence[Dim],
    axes: Sequence[int],
    keepdims: bool,
    name: str,
) -> te.Tensor:
    """`reducer` over `axes` of the elements of(*indices) of a virtual tensor of `shape`."""
    names = {axis: te.reduce_axis((0, shape[axis]), f"k{axis}") for axis in axes}
    kept = [1 if a in names else d for a, d in enumerate(shape) if keepdims or a not in names]

    def element(*outer: Expr) -> Expr:
        rest = list(outer) if not keepdims else [o for a, o in enumerate(outer) if a not in names]
        indices = [names[a] if a in names else rest.pop(0) for a in range(len(shape))]
        return reducer(of(*indices), axis=list(names.values()))

    return te.compute(kept, element, name=name)


def extreme(dtype: str, largest: bool) -> Reducer:
    """The reducer to the largest or smallest element, which of floats is NaN where one is, and infinite of none."""
    if "float" in dtype:
        return _LARGEST if largest else _SMALLEST
    reducer: Reducer = te.max if largest else te.min
    return reducer


def axes_of(call: Call, rank: int) -> list[int]:
    """The axes in operand 1; where it has none: all of them, or none with noop_with_empty_axes."""
    axes = call.integers(1)
    if not axes:
        return [] if call.attr("noop_with_empty_axes") else list(range(rank))
    return sorted({normalize_axis(a, rank) for a in axes})


_ELEMENT: dict[str, Callable[[Expr], Expr]] = {
    "ReduceL1": tirx.abs,
    "ReduceL2": lambda x: x * x,
    "ReduceSumSquare": lambda x: x * x,
}
_SUMS = ("ReduceSum", "ReduceMean", "ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceLogSum")


@lowers(*(onnx.OPS[name] for name in _SUMS), values=[1])
def reduce_sum(call: Call) -> te.Tensor:
    """Sums of x, |x| or x^2 over axes, and what is made of them."""
    x, name = call.inputs[0], call.name
    axes = axes_of(call, len(x.shape))
    of = _ELEMENT.get(name, lambda v: v)
    kind = {"int32": "int64", "uint32": "uint64"}.get(dtype_of(x), dtype_of(x))

    def element(*i: Expr) -> Expr:
        return of(x(*i).astype(kind))

    total = (
        reduce(te.sum, element, x.shape, axes, bool(call.attr("keepdims")), name.lower())
        if axes
        else _whole(x, element)
    )
    finish = {
        "ReduceMean": lambda v: _mean(v, [x.shape[a] for a in axes]),
        "ReduceL2": _sqrt,
        "ReduceLogSum": _log,
    }.get(name)
    return cast(elementwise(finish, total, name="finish") if finish else total, call.dtype())


def _whole(x: te.Tensor, element: Callable[..., Expr]) -> te.Tensor:
    return te.compute(x.shape, element, name="noop")


def _mean(total: Expr, sizes: Sequence[Dim]) -> Expr:
    count = divisor(sizes, dtype_of(total))
    if is_float(total):
        return total * (const_like(1, total) / count)
    return tirx.truncdiv(total, count)


def _sqrt(value: Expr) -> Expr:
    return tirx.sqrt(value) if is_float(value) else tirx.sqrt(value.astype("float64")).astype(dtype_of(value))


def _log(value: Expr) -> Expr:
    return functions.log(value) if is_float(value) else functions.log(value.astype("float64")).astype(dtype_of(value))


@lowers(onnx.ReduceMax, onnx.ReduceMin, onnx.ReduceProd, values=[1])
def reduce_plain(call: Call) -> te.Tensor:
    """The largest, smallest or product over axes."""
    x, name = call.inputs[0], call.name
    axes = axes_of(call, len(x.shape))
    if not axes:
        return elementwise(lambda v: v, x, name="noop")
    stored = cast(x, "uint8") if dtype_of(x) == "bool" else x
    reducer = _PRODUCT if name == "ReduceProd" else extreme(dtype_of(stored), name == "ReduceMax")
    return cast(reduce(reducer, stored, x.shape, axes, bool(call.attr("keepdims")), name.lower()), dtype_of(x))


@lowers(onnx.ReduceLogSumExp, values=[1])
def reduce_log_sum_exp(call: Call) -> te.Tensor:
    """log(sum(e^x)), shifted by the maximum so that nothing overflows; not where that is infinite."""
    x = call.inputs[0]
    wide = x if is_float(x) else cast(x, "float64")
    axes = axes_of(call, len(x.shape))
    if not axes:
        return elementwise(lambda v: v, x, name="noop")
    peak = reduce(te.max, wide, x.shape, axes, True, "peak")

    shift = elementwise(_finite, peak, name="shift")

    def shifted(*i: Expr) -> Expr:
        return functions.exp(wide(*i) - shift(*_kept(i, axes)))

    total = reduce(te.sum, shifted, x.shape, axes, True, "total")
    result = elementwise(lambda t, m: functions.log(t) + m, total, shift, name="logsumexp")
    if not call.attr("keepdims"):
        result = drop(result, axes)
    return cast(result, call.dtype())


def _finite(x: Expr) -> Expr:
    return tirx.Select(tirx.LT(tirx.abs(x), const_like(math.inf, x)), x, const_like(0, x))


def drop(tensor: te.Tensor, axes: Sequence[int]) -> te.Tensor:
    """`tensor` without `axes`, which have size 1."""
    rank = len(tensor.shape)
    kept = [a for a in range(rank) if a not in axes]

    def element(*outer: Expr) -> Expr:
        given = dict(zip(kept, outer, strict=True))
        return tensor(*(given.get(a, 0) for a in range(rank)))

    return te.compute([tensor.shape[a] for a in kept], element, name="drop")


def _kept(indices: Sequence[Expr], axes: Sequence[int]) -> list[Dim]:
    """The indices of the element of a reduction (keepdims) that belongs to an element of its operand."""
    return [0 if a in axes else i for a, i in enumerate(indices)]


@lowers(onnx.Softmax, onnx.LogSoftmax)
def softmax(call: Call) -> te.Tensor:
    """e^x over its sum along an axis, or the logarithm of that; shifted by the maximum."""
    x = call.inputs[0]
    axes = [normalize_axis(call.attr("axis"), len(x.shape))]
    peak = reduce(te.max, x, x.shape, axes, True, "softmax_max")
    if call.name == "Softmax":
        exps = te.compute(x.shape, lambda *i: functions.exp(x(*i) - peak(*_kept(i, axes))), name="softmax_exp")
        total = reduce(te.sum, exps, x.shape, axes, True, "softmax_sum")
        # a row of quotients takes some ten times as long as one of products
        share = elementwise(lambda t: const_like(1, t) / t, total, name="softmax_share")
        return te.compute(x.shape, lambda *i: exps(*i) * share(*_kept(i, axes)), name="softmax")
    shifted = te.compute(x.shape, lambda *i: x(*i) - peak(*_kept(i, axes)), name="shifted")
    total = reduce(te.sum, lambda *i: functions.exp(shifted(*i)), x.shape, axes, True, "softmax_sum")
    logs = elementwise(functions.log, total, name="log")
    return elementwise(lambda v, t: v - t, shifted, logs, name="logsoftmax")


@lowers(onnx.Hardmax)
def hardmax(call: Call) -> te.Tensor:
    """1 at the first largest element along an axis, 0 elsewhere."""
    x = call.inputs[0]
    axis = normalize_axis(call.attr("axis"), len(x.shape))
    first = arg_extreme(x, axis, largest=True, last=False)

    def element(*i: Expr) -> Expr:
        return equal(first(*(0 if a == axis else v for a, v in enumerate(i))), i[axis]).astype(dtype_of(x))

    return te.compute(x.shape, element, name="hardmax")


@lowers(onnx.ArgMax, onnx.ArgMin)
def arg_max(call: Call) -> te.Tensor:
    """Where along an axis the extreme is; of equal ones the first, or the last where asked."""
    x = call.inputs[0]
    axis = normalize_axis(call.attr("axis"), len(x.shape))
    found = arg_extreme(x, axis, call.name == "ArgMax", bool(call.attr("select_last_index")))
    return cast(found if call.attr("keepdims") else drop(found, [axis]), "int64")


def arg_extreme(x: te.Tensor, axis: int, largest: bool, last: bool) -> te.Tensor:
    """The int32 position of the extreme along `axis`, which stays with size 1.

    First the extreme, then the first or last place where it is: two reductions of one value each, which fill vectors,
    where one of pairs does not. NaN is both largest and smallest, as in numpy.
    """
    size, shape = x.shape[axis], [1 if a == axis else d for a, d in enumerate(x.shape)]
    value_axis, place_axis = te.reduce_axis((0, size), "k"), te.reduce_axis((0, size), "p")
    nowhere = tirx.const(-1, "int32") if last else te.max_value("int32")

    def along(k: te.IterVar, i: Sequence[Expr]) -> Expr:
        return x(*i[:axis], k, *i[axis + 1 :])

    def value(*i: Expr) -> Expr:
        return extreme(dtype_of(x), largest)(along(value_axis, i), axis=[value_axis])

    found = te.compute(shape, value, name="extreme")

    def place(*i: Expr) -> Expr:
        here = is_extreme(along(place_axis, i), found(*i))
        k = place_axis.var.astype("int32")
        return (te.max if last else te.min)(tirx.Select(here, k, nowhere), axis=[place_axis])

    return te.compute(shape, place, name="place")


def is_extreme(x: Expr, extreme: Expr) -> Expr:
    """Whether an element is what `extreme` found among it and others: equal, or NaN, which only NaN is found among."""
    equal_to = tirx.EQ(x, extreme)
    return tirx.Or(equal_to, tirx.NE(x, x)) if is_float(x) else equal_to
