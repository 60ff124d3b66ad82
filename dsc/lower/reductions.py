"""Reductions of one element or of none are no reductions.

TVM's schedules take a loop of one iteration for no loop: the block would lose its start value and add to what is in
memory. A loop of none would not even write the start value.
"""

from __future__ import annotations

import tvm_ffi
from tvm import s_tir, tirx
from tvm.ir import Call, Expr, TensorLoad
from tvm_ffi.structural import StructuralMutator

_REDUCE = 2


def without_trivial_reductions(func: tirx.PrimFunc) -> tirx.PrimFunc:
    """A function of `te.create_prim_func` in which reductions of constant extent 0 or 1 are plain assignments."""
    gone: set[tirx.Var] = set()

    def loop(node: tirx.For, mutator: StructuralMutator) -> tirx.Stmt:
        body = mutator.mutate(node.body)
        if node.loop_var in gone:
            return body
        return tirx.For(node.loop_var, node.min, node.extent, node.kind, body, node.thread_binding, node.annotations)

    def realize(node: s_tir.SBlockRealize, mutator: StructuralMutator) -> s_tir.SBlockRealize:
        walked = [i for i in node.block.iter_vars if i.iter_type == _REDUCE]
        if not walked or not _is_trivial(walked):
            return mutator.default_mutate(node)
        pairs = list(zip(node.iter_values, node.block.iter_vars, strict=True))
        gone.update(value for value, i in pairs if i.iter_type == _REDUCE)
        kept = [(value, i) for value, i in pairs if i.iter_type != _REDUCE]
        block = _assigned(node.block, [i for _, i in kept], walked)
        return s_tir.SBlockRealize([value for value, _ in kept], node.predicate, block)

    return func.with_body(tvm_ffi.structural_mutate(func.body, [(tirx.For, loop), (s_tir.SBlockRealize, realize)]))


def _is_trivial(walked: list[tirx.IterVar]) -> bool:
    extents = [int(i.dom.extent.value) if isinstance(i.dom.extent, tirx.IntImm) else None for i in walked]
    return 0 in extents or all(extent == 1 for extent in extents)


def _assigned(block: s_tir.SBlock, kept: list[tirx.IterVar], walked: list[tirx.IterVar]) -> s_tir.SBlock:
    """The block that stores the one element, which is what combining it with the start value gives; or that value."""
    start, update = block.init, block.body
    assert isinstance(update, tirx.BufferStore), "a reduction of one result stores it"
    if any(isinstance(i.dom.extent, tirx.IntImm) and i.dom.extent.value == 0 for i in walked):
        return s_tir.SBlock(kept, [], block.writes, block.name_hint, start)

    def first(var: tirx.Var, _: StructuralMutator) -> Expr:
        return tirx.const(0, str(var.ty)) if any(var.same_as(i.var) for i in walked) else var

    store = tirx.BufferStore(update.buffer, _element(update, start), update.indices)
    body, reads = (tvm_ffi.structural_mutate(part, (tirx.Var, first)) for part in (store, block.reads))
    return s_tir.SBlock(kept, reads, block.writes, block.name_hint, body)


def _element(update: tirx.BufferStore, start: tirx.BufferStore) -> Expr:
    """The one element: the second operand of what combines it with the result so far."""
    if isinstance(update.value, Call):
        return update.value.args[1]
    if hasattr(update.value, "b"):
        return update.value.b

    def so_far(node: TensorLoad) -> Expr:
        return start.value if node.source.same_as(update.buffer) else node

    return tvm_ffi.structural_map(update.value, (TensorLoad, so_far))  # simplified to something else
