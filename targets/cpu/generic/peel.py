"""The ragged last iteration of a loop over vectors, apart from the others, which need no condition then.

TVM peels loops of symbolic length itself, when told by a pragma. Where the length is constant it mixes integer
types up in functions that also have symbolic sizes, so those loops are peeled here.
"""

from __future__ import annotations

import tvm_ffi
from tvm import s_tir, tirx
from tvm.ir import Expr
from tvm_ffi.structural import StructuralMutator

from dsc.lower.exprs import static
from dsc.targets.cpu.generic.stages import uses

RAGGED = "pragma_loop_partition_hint"
"""Loop annotation, and TVM's pragma: the last iteration may be a part of one."""


def peel(func: tirx.PrimFunc) -> tirx.PrimFunc:
    """Peels marked loops of constant length."""

    def loop(node: tirx.For, mutator: StructuralMutator) -> tirx.Stmt:
        node = mutator.default_mutate(node)
        extent = static(node.extent)
        if RAGGED not in node.annotations or extent is None:
            return node
        annotations = {key: value for key, value in node.annotations.items() if key != RAGGED}

        def shortened(count: int) -> tirx.For:
            size = tirx.const(count, str(node.loop_var.ty))
            return tirx.For(node.loop_var, node.min, size, node.kind, node.body, None, annotations)

        if extent == 1 or not _ragged(node):
            return shortened(extent)
        last = tirx.const(extent - 1, str(node.loop_var.ty))
        return tirx.SeqStmt([shortened(extent - 1), _copied(node.body, node.loop_var, last)])

    return func.with_body(tvm_ffi.structural_mutate(func.body, (tirx.For, loop)))


def _ragged(loop: tirx.For) -> bool:
    found = False

    def visit(node: s_tir.SBlockRealize) -> None:
        nonlocal found
        found = found or uses(node.predicate, loop.loop_var)

    tvm_ffi.structural_walk(loop.body, (s_tir.SBlockRealize, visit))
    return found


def _copied(stmt: tirx.Stmt, var: tirx.Var, value: Expr) -> tirx.Stmt:
    """`stmt` at ``var = value``, with variables of its own."""
    current: dict[tirx.Var, Expr] = {var: value}

    def renew(old: tirx.Var) -> tirx.Var:
        current[old] = new = tirx.Var(old.name, old.ty)
        return new

    def loop(node: tirx.For, mutator: StructuralMutator) -> tirx.For:
        new, extent = renew(node.loop_var), mutator.mutate(node.extent)
        return tirx.For(new, node.min, extent, node.kind, mutator.mutate(node.body), None, node.annotations)

    def let(node: tirx.Let, mutator: StructuralMutator) -> tirx.Let:
        bound = mutator.mutate(node.value)
        return tirx.Let(renew(node.var), bound, mutator.mutate(node.body))

    def block(node: s_tir.SBlock, mutator: StructuralMutator) -> s_tir.SBlock:
        iters = [tirx.IterVar(i.dom, renew(i.var), i.iter_type, i.thread_tag) for i in node.iter_vars]
        reads, writes, body = (mutator.mutate(part) for part in (node.reads, node.writes, node.body))
        init = None if node.init is None else mutator.mutate(node.init)
        return s_tir.SBlock(iters, reads, writes, node.name_hint, body, init)

    entries = [
        (tirx.For, loop),
        (tirx.Let, let),
        (s_tir.SBlock, block),
        (tirx.Var, lambda old, _: current.get(old, old)),
    ]
    return tvm_ffi.structural_mutate(stmt, entries)
