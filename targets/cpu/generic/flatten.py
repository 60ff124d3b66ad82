"""Plain offsets in place of the divisions and remainders that fused loops leave in indices.

TVM splits the variable of a fused loop into one index for each axis, and puts these together again when it flattens
buffers. With more than two axes it does not see that the result is the variable itself, and loads element by element.
"""

from __future__ import annotations

from collections.abc import Sequence

import tvm_ffi
from tvm import s_tir, tirx
from tvm.ir import Expr, TensorLoad
from tvm.sym import Analyzer
from tvm_ffi.structural import StructuralMutator

from dsc.targets.cpu.generic.stages import Access, Stage, flat_index, uses

FLAT = "dsc.flat"
"""Block annotation: the number of leading block iterators whose loops were not fused."""


def mark(sch: s_tir.Schedule, stage: Stage, first: int) -> None:
    """Says that the spatial loops of `stage` from `first` on walk through parameters of the function as one."""
    sch.annotate(stage.block, FLAT, first)


def flatten(func: tirx.PrimFunc) -> tirx.PrimFunc:
    """Rewrites the accesses of marked blocks."""
    loops: list[tirx.For] = []

    def loop(node: tirx.For, mutator: StructuralMutator) -> tirx.For:
        loops.append(node)
        body = mutator.mutate(node.body)
        loops.pop()
        return tirx.For(node.loop_var, node.min, node.extent, node.kind, body, node.thread_binding, node.annotations)

    def realize(node: s_tir.SBlockRealize, mutator: StructuralMutator) -> s_tir.SBlockRealize:
        if FLAT not in node.block.annotations:
            return mutator.default_mutate(node)
        first = int(node.block.annotations[FLAT])
        return _Rewrite(node, _position(node.iter_values[:first], loops), first).realize()

    return func.with_body(tvm_ffi.structural_mutate(func.body, [(tirx.For, loop), (s_tir.SBlockRealize, realize)]))


def _position(outer: Sequence[Expr], loops: Sequence[tirx.For]) -> Expr:
    """The variable of the fused loop: of all loops inside of those that `outer` depends on."""
    own = [x for x in loops if not any(uses(value, x.loop_var) for value in outer)]
    position: Expr | None = None
    for x in own:
        position = x.loop_var if position is None else position * x.extent + x.loop_var
    assert position is not None
    return position


class _Rewrite:
    """One block."""

    def __init__(self, node: s_tir.SBlockRealize, position: Expr, first: int) -> None:
        self.node, self.position = node, position
        self.fused = [i.var for i in node.block.iter_vars[first:]]

    def realize(self) -> s_tir.SBlockRealize:
        """The block with its accesses rewritten."""
        block = self.node.block
        body = tvm_ffi.structural_mutate(block.body, [(TensorLoad, self._load), (tirx.BufferStore, self._store)])
        rewritten = s_tir.SBlock(block.iter_vars, block.reads, block.writes, block.name_hint, body)
        return s_tir.SBlockRealize(self.node.iter_values, self.node.predicate, rewritten)

    def _load(self, node: TensorLoad, _: StructuralMutator) -> TensorLoad:
        return tirx.BufferLoad(node.source, self._indices(node.source, node.indices))

    def _store(self, node: tirx.BufferStore, mutator: StructuralMutator) -> tirx.BufferStore:
        return tirx.BufferStore(node.buffer, mutator.mutate(node.value), self._indices(node.buffer, node.indices))

    def _indices(self, buffer: tirx.Var, indices: Sequence[Expr]) -> list[Expr]:
        """The offset as the last index, beyond its axis: what counts is where it ends up in memory."""
        if not any(uses(index, var) for index in indices for var in self.fused):
            return list(indices)

        def outer(var: tirx.Var) -> Expr:
            return tirx.const(0, str(var.ty)) if any(var.same_as(f) for f in self.fused) else var

        start = [tvm_ffi.structural_map(index, (tirx.Var, outer)) for index in indices]
        offset = flat_index(Access(buffer, tuple(start)), Analyzer()) + self.position
        return [*(tirx.const(0, str(index.ty)) for index in indices[:-1]), offset]
