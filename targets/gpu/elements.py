"""Elements of tensor expressions, computed by statements of one thread.

A value that several stages read is computed once and kept in a register; a branch keeps what it computes to itself, so
that nothing is read under another condition than it was written for; a reduction is a loop.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import tvm_ffi
from tvm import sym, te, tirx
from tvm.ir import Call, Expr, TensorLoad
from tvm.tirx.script.builder import ir as T
from tvm_ffi.structural import StructuralMutator

from dsc.lower.floats import is_constant
from dsc.targets.cpu.inline import Identity, Leaf, identity
from dsc.targets.gpu.access import limit
from dsc.targets.tir.loops import when

_Key = tuple[Identity, tvm_ffi.StructuralKey]


class Elements:
    """Computes elements of tensors from `leaves`; statements go to the innermost open frame.

    One instance serves one thread's code, in program order: what was computed is read by later calls in the same
    scope and in those within.
    """

    problems: list[str]
    """Why elements could not be given; zeros stand for them. (Exceptions do not pass TVM's mutators.)"""
    conditions: list[Expr]
    """Of the branches in which what is computed now is."""

    def __init__(self, leaves: Mapping[te.Tensor, Leaf], known: sym.Analyzer | None = None) -> None:
        """`known`: the ranges of the variables in indices, which are simplified by it: what is packed and unpacked is
        read where it lies."""
        self._known = known
        self._leaves = {identity(tensor): leaf for tensor, leaf in leaves.items()}
        self._scopes: list[dict[_Key, Expr]] = [{}]
        self.problems = []
        self.conditions = []

    @contextmanager
    def scope(self) -> Iterator[None]:
        """What is computed in here is not known outside: the body of a loop or a branch."""
        self._scopes.append({})
        yield
        self._scopes.pop()

    def at(self, tensor: te.Tensor, indices: Sequence[Expr]) -> Expr:
        """The element of `tensor` at `indices`; a problem if it is neither an expression nor a reduction."""
        leaf = self._leaves.get(identity(tensor))
        if leaf is not None:
            return leaf(indices)
        key = (identity(tensor), tvm_ffi.StructuralKey(list(indices)))  # type: ignore[call-arg]
        for scope in reversed(self._scopes):
            if key in scope:
                return scope[key]
        value = self._scopes[-1][key] = _kept(self._computed(tensor, indices))
        return value

    def source(self, stage: te.ComputeOp, indices: Sequence[Expr], walked: Sequence[Expr]) -> Expr:
        """What a reduction takes at one place: `indices` of its result, and `walked` for its own axes."""
        (reduction,) = stage.body
        return self.term(stage, reduction.source[0], indices, walked)

    def term(self, stage: te.ComputeOp, part: Expr, indices: Sequence[Expr], walked: Sequence[Expr]) -> Expr:
        """A part of what a reduction takes there, as one of the factors."""
        return self._expression(part, _places(stage.axis, indices) | _places(stage.reduce_axis, walked))

    def _computed(self, tensor: te.Tensor, indices: Sequence[Expr]) -> Expr:
        stage = tensor.op
        if not isinstance(stage, te.ComputeOp):
            self.problems.append(f"{stage.name} is no expression")
            return tirx.const(0, str(tensor.dtype))
        if stage.reduce_axis:
            return self._reduced(stage, indices)
        return self._expression(stage.body[tensor.value_index], _places(stage.axis, indices))

    def _reduced(self, stage: te.ComputeOp, indices: Sequence[Expr]) -> Expr:
        """A loop over the reduction's axes."""
        combine = Combiner(stage)
        total = T.alloc_buffer((1,), combine.dtype, scope="local")
        T.buffer_store(total, combine.start, [0])
        walked: list[Expr] = []
        with nest(stage.reduce_axis, walked), self.scope():
            if self._known is not None:
                limits(self._known, stage.reduce_axis, walked)
            with when(combine.condition(indices, walked)):
                combine.into(total, self.source(stage, indices, walked))
        return total[0]

    def _expression(self, body: Expr, places: dict[tirx.Var, Expr]) -> Expr:
        def variable(var: tirx.Var, _: StructuralMutator) -> Expr:
            return places.get(var, var)

        def call(node: Call, mutator: StructuralMutator) -> Expr:
            name = str(getattr(node.op, "name", ""))
            if name == "te.tensor_load":
                return self.at(node.args[0], [self._simple(mutator.mutate(index)) for index in node.args[1:]])
            if name.endswith("if_then_else"):
                return self._chosen(node, mutator)
            return mutator.default_mutate(node)

        def let(node: tirx.Let, mutator: StructuralMutator) -> Expr:
            places[node.var] = _kept(mutator.mutate(node.value))
            return mutator.mutate(node.body)

        return tvm_ffi.structural_mutate(body, [(tirx.Var, variable), (Call, call), (tirx.Let, let)])

    def _simple(self, index: Expr) -> Expr:
        return index if self._known is None else self._known.simplify(index)

    def _chosen(self, node: Call, mutator: StructuralMutator) -> Expr:
        """The value of the branch that is taken; the other is not computed."""
        condition, *values = node.args
        holds = mutator.mutate(condition)
        chosen = T.alloc_buffer((1,), _stored(str(node.expr_ty())), scope="local")
        with T.If(holds):
            for value, branch, taken in zip(values, (T.Then, T.Else), (holds, tirx.Not(holds)), strict=True):
                self.conditions.append(taken)
                with branch(), self.scope():
                    T.buffer_store(chosen, _as_stored(mutator.mutate(value)), [0])
                self.conditions.pop()
        return _read(chosen, str(node.expr_ty()))


class Combiner:
    """How a reduction puts two values together."""

    def __init__(self, stage: te.ComputeOp) -> None:
        (self._reduction,) = stage.body
        self._stage, self._combiner = stage, self._reduction.combiner
        self.start: Expr = self._reduction.init[0] if self._reduction.init else self._combiner.identity_element[0]
        """Of no values."""
        self.dtype = str(self._reduction.expr_ty())

    def __call__(self, a: Expr, b: Expr) -> Expr:
        """Of both."""
        variables = {self._combiner.lhs[0]: a, self._combiner.rhs[0]: b}
        return tvm_ffi.structural_map(self._combiner.result[0], (tirx.Var, lambda var: variables.get(var, var)))

    def into(self, total: tirx.Buffer, element: Expr, which: int = 0) -> None:
        """Puts `element` to what is in a register; it is loaded once, however often it is asked for then."""
        own: tirx.Buffer = T.alloc_buffer((1,), self.dtype, scope="local")
        T.buffer_store(own, element, [0])
        T.buffer_store(total, self(total[which], own[0]), [which])

    def condition(self, indices: Sequence[Expr], walked: Sequence[Expr]) -> Expr | None:
        """Under which an element counts; None where all do."""
        places = _places(self._stage.axis, indices) | _places(self._stage.reduce_axis, walked)
        found = tvm_ffi.structural_map(self._reduction.condition, (tirx.Var, lambda var: places.get(var, var)))
        return None if isinstance(found, tirx.IntImm) and found.value else found


def limits(known: sym.Analyzer, axes: Sequence[tirx.IterVar], walked: Sequence[Expr]) -> None:
    """Tells `known` the ranges of the indices along the axes of a reduction."""
    for axis, index in zip(axes, walked, strict=True):
        limit(known, index, axis.dom.min, axis.dom.extent)


@contextmanager
def nest(axes: Sequence[tirx.IterVar], walked: list[Expr]) -> Iterator[None]:
    """Loops over `axes`, whose variables are appended to `walked`."""
    if not axes:
        yield
        return
    first = axes[0]
    with T.serial(first.dom.min, first.dom.min + first.dom.extent) as var:
        walked.append(_typed(var, first.var))
        with nest(axes[1:], walked):
            yield


def _places(axes: Sequence[tirx.IterVar], indices: Sequence[Expr]) -> dict[tirx.Var, Expr]:
    return {axis.var: _typed(index, axis.var) for axis, index in zip(axes, indices, strict=True)}


def _typed(index: Expr | int, axis: tirx.Var) -> Expr:
    """`index` in the integer type of the axis it stands for."""
    dtype = str(axis.ty)
    if isinstance(index, int):
        return tirx.const(index, dtype)
    return index if str(index.expr_ty()) == dtype else index.astype(dtype)


def _kept(value: Expr) -> Expr:
    """`value` in a register, unless it may as well be written again."""
    if is_constant(value) or isinstance(value, TensorLoad | tirx.Var):
        return value
    register = T.alloc_buffer((1,), _stored(str(value.expr_ty())), scope="local")
    T.buffer_store(register, _as_stored(value), [0])
    return _read(register, str(value.expr_ty()))


def _stored(dtype: str) -> str:
    """Conditions are kept as numbers: TVM has no memory of bool on all targets."""
    return "int32" if dtype == "bool" else dtype


def _as_stored(value: Expr) -> Expr:
    return value.astype("int32") if str(value.expr_ty()) == "bool" else value


def _read(register: tirx.Buffer, dtype: str) -> Expr:
    return tirx.NE(register[0], tirx.const(0, "int32")) if dtype == "bool" else register[0]
