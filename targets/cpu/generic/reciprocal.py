"""Division by what is the same for a whole row, as in softmax: one division a row and a product an element.

A vector of quotients takes some ten times as long as one of products. The result differs by one rounding, as it
does in every library that does the same.
"""

from __future__ import annotations

import tvm_ffi
from tvm import s_tir, tirx
from tvm.ir import Call, Expr, TensorLoad
from tvm_ffi.structural import StructuralMutator

from dsc.targets.cpu.generic.sizes import static
from dsc.targets.cpu.generic.stages import SPATIAL, uses

ROUNDING = frozenset({"round", "nearbyint", "floor", "ceil", "trunc", "fmod"})


def multiply_by_reciprocals(func: tirx.PrimFunc) -> tirx.PrimFunc:
    """Rewrites ``a / b`` to ``a * (1 / b)`` in elementwise blocks whose innermost iterator `b` does not depend on."""

    def block(node: s_tir.SBlock, mutator: StructuralMutator) -> s_tir.SBlock:
        varying = [i for i in node.iter_vars if static(i.dom.extent) != 1]
        if not varying or any(i.iter_type != SPATIAL for i in node.iter_vars) or _rounds(node.body):
            return mutator.default_mutate(node)
        innermost = varying[-1].var

        def divide(quotient: tirx.Div) -> Expr:
            invariant = isinstance(quotient.b, TensorLoad) and not uses(quotient.b, innermost)
            if not invariant or str(quotient.b.ty) != "float32" or isinstance(quotient.a, tirx.FloatImm):
                return quotient
            return quotient.a * (tirx.const(1.0, "float32") / quotient.b)

        body = tvm_ffi.structural_map(node.body, (tirx.Div, divide))
        return s_tir.SBlock(node.iter_vars, node.reads, node.writes, node.name_hint, body)

    return func.with_body(tvm_ffi.structural_mutate(func.body, (s_tir.SBlock, block)))


def _rounds(stmt: tirx.Stmt) -> bool:
    """Whether something becomes an integer, as in quantization: there the last bit decides between two results."""
    found = False

    def cast(node: tirx.Cast) -> None:
        nonlocal found
        found = found or ("float" in str(node.value.ty) and "float" not in str(node.ty))

    def call(node: Call) -> None:
        nonlocal found
        found = found or getattr(node.op, "name", "").rpartition(".")[2] in ROUNDING

    tvm_ffi.structural_walk(stmt, [(tirx.Cast, cast), (Call, call)])
    return found
