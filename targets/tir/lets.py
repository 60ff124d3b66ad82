"""Bindings within expressions, one after the other instead of one inside of another's value.

TVM's LLVM code generation tells its analyzer of each `Let` it meets. The analyzer simplifies the value, which tells it
of every `Let` in there: of those twice then. Where it knew less at first, it takes the second time for a conflict, as
for ``v = x - m`` as soon as m is known to be x.
"""

from __future__ import annotations

import tvm_ffi
from tvm import tirx
from tvm.ir import Call, Expr
from tvm_ffi.structural import StructuralMutator

Binding = tuple[tirx.Var, Expr]


def flat_lets(func: tirx.PrimFunc) -> tirx.PrimFunc:
    """``let a = f(let b = x in y) in z`` as ``let b = x in let a = f(y) in z``; each variable must have one binding."""

    def flat(node: tirx.Let, mutator: StructuralMutator) -> Expr:
        found: list[Binding] = []
        value, body = _without(mutator.mutate(node.value), found), mutator.mutate(node.body)
        result = tirx.Let(node.var, value, body)
        for var, bound in reversed(found):
            result = tirx.Let(var, bound, result)
        return result

    return func.with_body(tvm_ffi.structural_mutate(func.body, [(tirx.Let, flat)]))


def _without(value: Expr, found: list[Binding]) -> Expr:
    """`value` without bindings, which go to `found` from the outermost on; those under a condition stay."""

    def let(node: tirx.Let, mutator: StructuralMutator) -> Expr:
        found.append((node.var, node.value))
        return mutator.mutate(node.body)

    def call(node: Call, mutator: StructuralMutator) -> Expr:
        if getattr(node.op, "name", "") == "prim.if_then_else":
            return node
        return mutator.default_mutate(node)

    return tvm_ffi.structural_mutate(value, [(tirx.Let, let), (Call, call)])
