"""Building blocks of lowerings: broadcasting, elementwise maps, index arithmetic."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

from tvm import te, tirx
from tvm.ir import Expr

from dsc.lower.exprs import Dim, dims, floordiv, floormod, maximum, product, same, simplify
from dsc.lower.floats import constant, is_constant


def let(value: Expr, use: Callable[[Expr], Expr]) -> Expr:
    """`use(value)` with `value` computed once, however often `use` mentions it.

    Without it an expression inlined into its consumer is repeated, and chains of them grow exponentially.
    """
    if isinstance(value, tirx.Var) or is_constant(value):
        return use(value)
    dtype = dtype_of(value)
    if dtype.startswith(("int", "uint")):
        return _let_integer(value, dtype, use)
    variable = tirx.Var("v", value.expr_ty())
    return tirx.Let(variable, value, use(variable))


def _let_integer(value: Expr, dtype: str, use: Callable[[Expr], Expr]) -> Expr:
    """The bits of the integer as a float.

    TVM keeps bounds of integer variables and gives up ("detected bound conflicts with memorization") where it meets a
    Let in two places that bound it differently, as it does in what indices are computed from.
    """
    wide, carrier = ("int64", "float64") if dtype.endswith("64") else ("int32", "float32")
    variable = tirx.Var("v", carrier)
    bits = tirx.reinterpret(carrier, value.astype(wide))
    return tirx.Let(variable, bits, use(tirx.reinterpret(wide, variable).astype(dtype)))


def dtype_of(value: te.Tensor | Expr) -> str:
    """The element type, as text."""
    return str(value.expr_ty())


def is_float(value: te.Tensor | Expr) -> bool:
    """Whether the elements are floating point numbers."""
    return "float" in dtype_of(value)


def in_float32(function: Callable[..., Expr], *operands: Expr) -> Expr:
    """`function` of operands of one float type; of those of half precision in float32, and its result rounded."""
    dtype = dtype_of(operands[0])
    if dtype not in ("float16", "bfloat16"):
        return function(*operands)
    return function(*(operand.astype("float32") for operand in operands)).astype(dtype)


def const_like(number: float, value: te.Tensor | Expr) -> Expr:
    """`number` in the element type of `value`."""
    return constant(number, dtype_of(value))


def broadcast_dim(a: Dim, b: Dim) -> Dim:
    """The size that dims `a` and `b` broadcast to; decided at run time where both are symbolic and may
    differ."""
    if isinstance(a, int) and a == 1:
        return b
    if (isinstance(b, int) and b == 1) or same(a, b):
        return a
    if isinstance(a, int):
        return a
    return b if isinstance(b, int) else maximum(a, b)


def broadcast_shape(*shapes: Sequence[Dim]) -> list[Dim]:
    """The common shape of numpy broadcasting."""
    rank = max(len(s) for s in shapes)
    result: list[Dim] = [1] * rank
    for shape in shapes:
        for position, size in enumerate(dims(shape), rank - len(shape)):
            result[position] = broadcast_dim(result[position], size)
    return result


def broadcast_index(shape: Sequence[Dim], target: Sequence[Dim], indices: Sequence[Expr]) -> list[Dim]:
    """Where element `indices` of the broadcast `target` is found in a tensor of `shape`.

    A symbolic dim may turn out to be 1: its index stays below its size, all that valid sizes need.
    """
    skipped = len(target) - len(shape)
    found: list[Dim] = []
    for size, wanted, index in zip(dims(shape), target[skipped:], indices[skipped:], strict=True):
        if isinstance(size, int):
            found.append(0 if size == 1 else index)
        else:
            found.append(index if same(size, wanted) else tirx.min(index, size - 1))
    return found


def elementwise(function: Callable[..., Expr], *tensors: te.Tensor, name: str, bind: bool = False) -> te.Tensor:
    """`function` of the elements of broadcast tensors; `bind` when it mentions an argument more than once."""
    shape = broadcast_shape(*(t.shape for t in tensors))

    def element(*indices: Expr) -> Expr:
        loads = [_element(t, broadcast_index(t.shape, shape, indices)) for t in tensors]
        return bound(function, loads) if bind else function(*loads)

    return te.compute(shape, element, name=name)


def _element(tensor: te.Tensor, indices: Sequence[Dim]) -> Expr:
    """An element, or the number that all are: it needs no Let, and TVM has no float of the bits of 0."""
    value = tensor.op.body[0] if isinstance(tensor.op, te.ComputeOp) else None
    return value if isinstance(value, tirx.IntImm | tirx.FloatImm) else tensor(*indices)


def bound(function: Callable[..., Expr], arguments: Sequence[Expr]) -> Expr:
    """`function` of `arguments`, each computed once."""
    if not arguments:
        return function()
    return let(arguments[0], lambda first: bound(lambda *rest: function(first, *rest), arguments[1:]))


def broadcast_to(tensor: te.Tensor, shape: Sequence[Dim], name: str = "expand") -> te.Tensor:
    """`tensor` repeated along the dims where it has size 1."""
    return te.compute(shape, lambda *i: tensor(*broadcast_index(tensor.shape, shape, i)), name=name)


def cast(tensor: te.Tensor, dtype: str, name: str = "cast") -> te.Tensor:
    """`tensor` in another element type; itself when it has it."""
    return tensor if dtype_of(tensor) == dtype else elementwise(lambda x: x.astype(dtype), tensor, name=name)


def normalize_axis(axis: int, rank: int) -> int:
    """A possibly negative axis counted from the front."""
    return axis + rank if axis < 0 else axis


def unravel(flat: Dim, shape: Sequence[Dim]) -> list[Dim]:
    """The indices of element `flat`, row-major."""
    indices: list[Dim] = []
    for position, size in reversed(list(enumerate(shape))):
        indices.insert(0, floormod(flat, size) if position else flat)
        flat = floordiv(flat, size)
    return indices


def ravel(indices: Sequence[Dim], shape: Sequence[Dim]) -> Dim:
    """The row-major position of the element at `indices`."""
    flat: Dim = 0
    for position, index in enumerate(indices):
        flat = flat + index * product(shape[position + 1 :])
    return flat


def divisor(sizes: Iterable[Dim], dtype: str) -> Expr:
    """How many elements `sizes` make, for a mean of `dtype`. The mean of none is NaN; of integers, 0."""
    count = simplify(product(sizes))
    if isinstance(count, int) and count == 0:
        return tirx.const(math.nan, dtype) if "float" in dtype else tirx.const(1, dtype)
    return tirx.Cast(dtype, count)
