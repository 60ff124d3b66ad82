"""Elements of tensor expressions as scalar expressions, for kernels that write their loops themselves."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import tvm_ffi
from tvm import te, tirx
from tvm.ir import Call, Expr, TensorLoad
from tvm.tirx.script.builder import ir as T
from tvm_ffi.structural import StructuralMutator

Leaf: TypeAlias = Callable[[Sequence[Expr]], Expr]
"""Gives the element of a tensor that is in memory, or in registers, at the given indices."""


class Inliner:
    """Computes elements of tensors from `leaves`, within a frame of the IR builder.

    Stages in between are bound to variables, so that code stays linear in the number of ops. `bind=False`
    turns that off, as is needed where an `if_then_else` is to be vectorized: TVM makes a loop over the lanes
    of it, in which vector variables cannot be used.
    One instance serves one scope: variables bound are reused by later calls.
    """

    branches: bool
    """Whether an `if_then_else` was met."""
    problems: list[str]
    """Why elements could not be given; zeros stand for them. (Exceptions do not pass TVM's mutators.)"""

    def __init__(self, leaves: Mapping[te.Tensor, Leaf], bind: bool = True) -> None:
        self._leaves = leaves
        self._bind = bind
        self._bound: dict[tuple[te.Tensor, tvm_ffi.StructuralKey], Expr] = {}
        self.branches = False
        self.problems = []

    def at(self, tensor: te.Tensor, indices: Sequence[Expr]) -> Expr:
        """The element of `tensor` at `indices`; a problem if it is a reduction or the like."""
        if tensor in self._leaves:
            return self._leaves[tensor](indices)
        key = (tensor, tvm_ffi.StructuralKey(list(indices)))
        if key not in self._bound:
            value = self._computed(tensor, indices)
            if not self._bind or not _worth_binding(value):
                return value
            self._bound[key] = T.Bind(value)
        return self._bound[key]

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
            # the same stage is written in many places: TVM wants each variable to be bound once
            value = mutator.mutate(node.value)
            places[node.var] = T.Bind(value) if self._bind else tirx.Var(node.var.name, node.var.ty)
            body = mutator.mutate(node.body)
            return body if self._bind else tirx.Let(places[node.var], value, body)

        return tvm_ffi.structural_mutate(stage.body[0], [(tirx.Var, variable), (Call, call), (tirx.Let, let)])


def _worth_binding(value: Expr) -> bool:
    """Loads, variables and constants are repeated for free."""
    return not isinstance(value, TensorLoad | tirx.Var | tirx.FloatImm | tirx.IntImm)


def _typed(index: Expr, axis: tirx.Var) -> Expr:
    """`index` in the integer type of the axis it stands for."""
    dtype = str(axis.ty)
    if isinstance(index, int):
        return tirx.const(index, dtype)
    return index if str(index.ty) == dtype else index.astype(dtype)
