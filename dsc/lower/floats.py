"""Floating point arithmetic that TVM leaves alone.

TVM takes floats for reals: its simplifier makes ``x`` of ``(x + c) - c``, 0 of ``x - x``, true of ``x == x`` and
``b <= a`` of ``not a < b``, none of which holds for all floats. So arithmetic on floats is hidden from it in calls of
operators that it knows nothing of but that they are pure and work on vectors too: `opaque` puts them in place of TVM's
nodes before the first pass that simplifies, `plain` puts the nodes back when only LLVM is left, whose rules are those
of IEEE 754 (but that a product and a sum may become one fused multiply-add).
TVM also folds as it builds expressions, ``x * 0`` to 0 for one; `constant` hides the numbers from that, `condition`
what it would conclude from a comparison of indices.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import tvm_ffi
from tvm import te, tirx
from tvm.ir import Call, Expr, PrimType
from tvm_ffi.structural import StructuralMutator

from dsc.lower.operators import call, name_of, operator

_ARITHMETIC = {"add": tirx.Add, "sub": tirx.Sub, "mul": tirx.Mul, "div": tirx.Div, "min": tirx.Min, "max": tirx.Max}
_COMPARISONS = {
    "eq": tirx.EQ, "ne": tirx.NE, "lt": tirx.LT, "le": tirx.LE, "gt": tirx.GT, "ge": tirx.GE,
}  # fmt: skip
_NODES = _ARITHMETIC | _COMPARISONS
_IDENTITIES = ("constant", "condition")
_OPERATORS = {
    name: operator(name, "floating point arithmetic") for name in (*_NODES, *_IDENTITIES, "larger", "smaller")
}
_NAMES = {node: name for name, node in _NODES.items()}
_EXTREMES = {"larger": tirx.Max, "smaller": tirx.Min}


def constant(value: float, dtype: str) -> Expr:
    """A number; of a float type one that TVM does not fold into what is computed with it."""
    number = tirx.const(value, dtype)
    return _call("constant", dtype, number) if "float" in dtype else number


def f32(value: float) -> Expr:
    """A float32 number."""
    return constant(value, "float32")


def condition(holds: Expr) -> Expr:
    """A condition of a Select from which TVM concludes nothing: it would drop the clamp of an index that is loaded
    under it, but vectors evaluate both sides."""
    return _call("condition", "bool", holds)


def is_constant(value: Expr) -> bool:
    """Whether `value` is a number."""
    return isinstance(value, tirx.IntImm | tirx.FloatImm) or is_call(value, "constant")


def is_call(value: Any, name: str) -> bool:
    """Whether `value` is hidden arithmetic of this name."""
    return isinstance(value, Call) and value.op.same_as(_OPERATORS[name])


def larger(a: Expr, b: Expr) -> Expr:
    """The larger of two numbers; NaN if either is, which a Max node sees to for the second only."""
    return _extreme("larger", a, b)


def smaller(a: Expr, b: Expr) -> Expr:
    """The smaller of two numbers; NaN if either is."""
    return _extreme("smaller", a, b)


def _extreme(name: str, a: Expr, b: Expr) -> Expr:
    dtype = str(a.expr_ty())
    return _call(name, dtype, a, b) if "float" in dtype else _EXTREMES[name](a, b)


def register_reducers() -> None:
    """Lets TVM's schedules split reductions by `larger` and `smaller` into partial ones."""
    for combine, start in ((larger, -math.inf), (smaller, math.inf)):
        # TVM keeps them in a table that it takes down after Python has ended; what is registered stays alive
        parts: dict[str, Callable[..., Any]] = {"combine": _combiner(combine), "start": _start(start)}
        for name, part in parts.items():
            tvm_ffi.register_global_func(f"dsc.{combine.__name__}.{name}", part, override=True)
        functions = [tvm_ffi.get_global_func(f"dsc.{combine.__name__}.{name}") for name in parts]
        tvm_ffi.get_global_func("s_tir.schedule.RegisterReducer")(1, *functions)


def _combiner(combine: Callable[[Expr, Expr], Expr]) -> Callable[[Sequence[Expr], Sequence[Expr]], list[Expr]]:
    return lambda a, b: [combine(a[0], b[0])]


def _start(value: float) -> Callable[[Sequence[Expr]], list[Expr]]:
    # asked for every type of reduction before it is compared; integers have no infinity
    return lambda values: [tirx.const(value if "float" in str(values[0].ty) else 0, str(values[0].ty))]


def opaque(func: tirx.PrimFunc) -> tirx.PrimFunc:
    """`func` with arithmetic on floats in calls."""
    return func.with_body(tvm_ffi.structural_mutate(func.body, _HIDING))


def opaque_tensors(tensors: Sequence[te.Tensor]) -> list[te.Tensor]:
    """Tensors, with arithmetic on floats in calls in all that they are computed by.

    How a reduction combines its elements stays as it is: schedules know reductions by that.
    """
    done: dict[te.Operation, te.Operation] = {}

    def load(node: Call, mutator: StructuralMutator) -> Expr:
        if getattr(node.op, "name", "") != "te.tensor_load":
            return mutator.default_mutate(node)
        return hidden(node.args[0])(*(mutator.mutate(index) for index in node.args[1:]))

    def reduction(node: tirx.Reduce, mutator: StructuralMutator) -> Expr:
        sources = [mutator.mutate(source) for source in node.source]
        return tirx.Reduce(node.combiner, sources, node.axis, node.condition, node.value_index, node.init)

    def rebuilt(op: te.Operation) -> te.Operation:
        if isinstance(op, te.ComputeOp):
            entries = [*_HIDING, (Call, load), (tirx.Reduce, reduction)]
            body = [tvm_ffi.structural_mutate(value, entries) for value in op.body]
            return te._ffi_api.ComputeOp(op.name, op.tag, op.attrs, op.axis, body)
        if isinstance(op, te.ExternOp):
            inputs, body = [hidden(tensor) for tensor in op.inputs], tvm_ffi.structural_mutate(op.body, _HIDING)
            placeholders = op.input_placeholders, op.output_placeholders
            return te._ffi_api.ExternOp(op.name, op.tag, op.attrs, inputs, *placeholders, body)
        return op

    def hidden(tensor: te.Tensor) -> te.Tensor:
        op = tensor.op
        if op not in done:
            done[op] = rebuilt(op)
        return tensor if done[op].same_as(op) else done[op].output(tensor.value_index)

    return [hidden(tensor) for tensor in tensors]


def _hide(node: tirx.Add, mutator: StructuralMutator) -> Expr:
    if "float" not in str(node.a.expr_ty()):
        return mutator.default_mutate(node)
    return _call(_NAMES[type(node)], str(node.expr_ty()), mutator.mutate(node.a), mutator.mutate(node.b))


_HIDING = [(tuple(_NODES.values()), _hide)]


def plain(func: tirx.PrimFunc) -> tirx.PrimFunc:
    """`func` with the nodes of arithmetic in place of the calls."""

    def show(node: Call) -> Expr:
        name = str(getattr(node.op, "name", ""))
        if name == "tirx.reinterpret" and _is_zero(node.args[0]) and isinstance(node.ty, PrimType):
            return tirx.const(0, str(node.expr_ty()))  # LLVM code generation takes those bits for a null pointer
        hidden = name_of(node)
        return node if hidden is None else _shown(hidden, node.args)

    return func.with_body(tvm_ffi.structural_map(func.body, (Call, show)))


def _is_zero(value: Expr) -> bool:
    return isinstance(value, tirx.IntImm) and value.value == 0


def _shown(name: str, operands: Sequence[Expr]) -> Expr:
    if name in _IDENTITIES:
        return operands[0]
    a, b = operands
    if name == "ne":
        return tirx.Not(tirx.EQ(a, b))  # TVM's code for NE says no where one is NaN
    if name in _EXTREMES:
        return tirx.Select(tirx.EQ(a, a), _EXTREMES[name](a, b), a)
    return _NODES[name](a, b)


def _call(name: str, dtype: str, *operands: Expr) -> Expr:
    return call(_OPERATORS[name], dtype, *operands)
