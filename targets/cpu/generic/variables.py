"""Variables of `Let` expressions: inlining a stage into two others leaves two definitions of each."""

from __future__ import annotations

import tvm_ffi
from tvm import tirx
from tvm_ffi.structural import StructuralMutator


def renewed(func: tirx.PrimFunc) -> tirx.PrimFunc:
    """`func` with a variable of its own for each `Let`, as TVM asks of a function."""
    current: dict[tirx.Var, tirx.Var] = {}

    def let(node: tirx.Let, mutator: StructuralMutator) -> tirx.Let:
        value = mutator.mutate(node.value)
        outer = current.get(node.var)
        current[node.var] = variable = tirx.Var(node.var.name, node.var.ty)
        body = mutator.mutate(node.body)
        if outer is None:
            del current[node.var]
        else:
            current[node.var] = outer
        return tirx.Let(variable, value, body)

    def use(node: tirx.Var, _: StructuralMutator) -> tirx.Var:
        return current.get(node, node)

    return func.with_body(tvm_ffi.structural_mutate(func.body, [(tirx.Let, let), (tirx.Var, use)]))
