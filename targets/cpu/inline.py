"""Elements of tensor expressions as scalar expressions, for kernels that write their loops themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeAlias

import tvm_ffi
from tvm import te, tirx
from tvm.ir import Call, Expr, TensorLoad
from tvm.tirx.script.builder import ir as T
from tvm_ffi.structural import StructuralMutator

from dsc.lower.floats import is_constant

Leaf: TypeAlias = Callable[[Sequence[Expr]], Expr]
"""Gives the element of a tensor that is in memory, or in registers, at the given indices."""
Keep: TypeAlias = Callable[[Expr], Expr]
"""Puts a value away, and gives what reads it back."""
Identity: TypeAlias = "tuple[te.Operation, int]"


def identity(tensor: te.Tensor) -> Identity:
    """What tells a tensor from others: the operation that makes it, and which of its results it is.

    `te.Tensor` itself is no key and in no list: `==` of two of rank 0 means their elements, and raises.
    """
    return tensor.op, tensor.value_index


def is_one_of(tensor: te.Tensor, tensors: Iterable[te.Tensor]) -> bool:
    """Whether `tensor` is among `tensors`."""
    return identity(tensor) in map(identity, tensors)


class Inliner:
    """Computes elements of tensors from `leaves`.

    The values of stages in between are given to `keep`, so that code stays linear in the number of ops.
    Without it they are computed again wherever they are read; that is needed where an `if_then_else` is to be
    vectorized: TVM makes a loop over the lanes of it, which cannot use what was computed as a vector.
    One instance serves one scope: what is kept is read by later calls.
    """

    branches: bool
    """Whether an `if_then_else` was met."""
    problems: list[str]
    """Why elements could not be given; zeros stand for them. (Exceptions do not pass TVM's mutators.)"""

    def __init__(self, leaves: Mapping[te.Tensor, Leaf], keep: Keep | None = None) -> None:
        self._leaves = {identity(tensor): leaf for tensor, leaf in leaves.items()}
        self._keep = keep
        self._kept: dict[tuple[Identity, tvm_ffi.StructuralKey], Expr] = {}
        self.branches = False
        self.problems = []

    def at(self, tensor: te.Tensor, indices: Sequence[Expr]) -> Expr:
        """The element of `tensor` at `indices`; a problem if it is a reduction or the like."""
        leaf = self._leaves.get(identity(tensor))
        if leaf is not None:
            return leaf(indices)
        key = (identity(tensor), _key(indices))
        if key not in self._kept:
            value = self._computed(tensor, indices)
            if self._keep is None or _is_free(value):
                return value
            self._kept[key] = self._keep(value)
        return self._kept[key]

    def _computed(self, tensor: te.Tensor, indices: Sequence[Expr]) -> Expr:
        stage = tensor.op
        if not isinstance(stage, te.ComputeOp) or stage.reduce_axis or len(stage.body) != 1:
            self.problems.append(f"{stage.name} is not elementwise")
            return tirx.const(0, str(tensor.dtype))
        places = {axis.var: _typed(index, axis.var) for axis, index in zip(stage.axis, indices, strict=True)}

        def variable(var: tirx.Var, _: StructuralMutator) -> Expr:
            return places.get(var, var)

        def call(node: Call, mutator: StructuralMutator) -> Expr:
            name = getattr(node.op, "name", "")
            if name == "te.tensor_load":
                return self.at(node.args[0], [mutator.mutate(index) for index in node.args[1:]])
            self.branches |= name.endswith("if_then_else")
            return mutator.default_mutate(node)

        def let(node: tirx.Let, mutator: StructuralMutator) -> Expr:
            # a stage may be written in many places, and TVM wants each variable to be bound once
            value = mutator.mutate(node.value)
            places[node.var] = tirx.Var(node.var.name, node.var.ty)
            return tirx.Let(places[node.var], value, mutator.mutate(node.body))

        return tvm_ffi.structural_mutate(stage.body[0], [(tirx.Var, variable), (Call, call), (tirx.Let, let)])


def kept_types(
    tensors: Sequence[te.Tensor], at: Sequence[Expr], leaves: Mapping[te.Tensor, Leaf]
) -> tuple[tuple[str, ...], list[str]]:
    """Types of what is kept for the elements of `tensors` at `at`, and what is in the way of computing them.

    Nothing is kept where there is an `if_then_else`.
    """
    kept: list[str] = []

    def keep(value: Expr) -> Expr:
        kept.append(str(value.ty))
        return tirx.Var("kept", value.ty)

    probe = Inliner(leaves, keep)
    for tensor in tensors:
        probe.at(tensor, at)
    return () if probe.branches else tuple(kept), probe.problems


class Kept:
    """Registers for the stages of an epilogue: a vector of each type in `dtypes`, in the order of their use.

    They are buffers and no variables, since TVM's simplifier looks through variables: it would write out
    again what they stand for.
    """

    def __init__(self, dtypes: Sequence[str], lanes: int) -> None:
        """Allocates them in the current frame of the IR builder."""
        self._buffers = [T.alloc_buffer((lanes,), dtype, scope="local") for dtype in dtypes]

    def keep(self, lane: Expr) -> Keep:
        """What an `Inliner` of one element needs, in a vectorized loop over `lane`."""
        left = iter(self._buffers)

        def keep(value: Expr) -> Expr:
            buffer = next(left)
            T.buffer_store(buffer, value, [lane])
            return buffer[lane]

        return keep


def _key(indices: Sequence[Expr]) -> tvm_ffi.StructuralKey:
    """What is equal for equal expressions."""
    return tvm_ffi.StructuralKey(list(indices))  # type: ignore[call-arg]


def _is_free(value: Expr) -> bool:
    """Whether it may as well be written again; a condition must be, as buffers of bool become int8 in TVM's passes."""
    return str(value.ty) == "bool" or is_constant(value) or isinstance(value, TensorLoad | tirx.Var)


def _typed(index: Expr, axis: tirx.Var) -> Expr:
    """`index` in the integer type of the axis it stands for."""
    dtype = str(axis.ty)
    if isinstance(index, int):
        return tirx.const(index, dtype)
    return index if str(index.ty) == dtype else index.astype(dtype)
