"""Rows of an intermediate result kept in the output that is computed from them, as softmax keeps its exponentials.

A row of its own would take cache from the output's, and where its length is symbolic a call of the allocator.
"""

from __future__ import annotations

from collections.abc import Sequence

import tvm_ffi
from tvm import s_tir, tirx
from tvm_ffi.structural import StructuralMutator

from dsc.lower.exprs import same, static
from dsc.targets.cpu.generic.groups import Group
from dsc.targets.cpu.generic.stages import Buffer, Stage, element_bits, is_at
from dsc.targets.cpu.machine import Cpu

Reuse = tuple[Buffer, Buffer]
"""An intermediate buffer, and the output that takes its place."""


def reusable(groups: Sequence[Group], machine: Cpu) -> list[Reuse]:
    """For each group at most one pair: what only this group reads, its last stage place by place, and its output."""
    found = []
    for group in groups:
        *writers, last = group.stages
        if not last.regular or last.reduce or not last.is_parameter(last.buffer) or not last.direct:
            continue
        found += [(w.buffer, last.buffer) for w in writers if _fits(w, last, group, groups, machine)][:1]
    return found


def _fits(writer: Stage, last: Stage, group: Group, groups: Sequence[Group], machine: Cpu) -> bool:
    buffer, output = writer.buffer, last.buffer
    alike = len(buffer.shape) == len(output.shape) and all(map(same, buffer.shape, output.shape))
    if writer.reduce or writer.is_parameter(buffer) or not alike or str(buffer.dtype) != str(output.dtype):
        return False
    if any(a.buffer.same_as(output) for g in groups for s in g.stages for a in s.loads):
        return False
    elsewhere = [s for g in groups if g is not group for s in g.stages]
    if any(access.buffer.same_as(buffer) for stage in elsewhere for access in stage.loads):
        return False
    reads = [access for access in last.loads if access.buffer.same_as(buffer)]
    if not all(all(map(is_at, access.indices, last.spatial)) for access in reads):
        return False
    return bool(reads) and _row_bytes(writer, group.rows) > machine.l1_bytes // 4


def _row_bytes(writer: Stage, rows: int) -> float:
    """Bytes of one row; infinite where that is not known."""
    size = element_bits(writer.buffer) / 8
    for extent in writer.buffer.shape[rows:]:
        size *= static(extent) or float("inf")
    return size


def reuse(func: tirx.PrimFunc, pairs: Sequence[Reuse]) -> tirx.PrimFunc:
    """`func` with the outputs in place of the intermediate buffers."""
    if not pairs:
        return func

    def replaced(buffer: Buffer) -> Buffer:
        return next((output for inner, output in pairs if buffer.same_as(inner)), buffer)

    def block(node: s_tir.SBlock, mutator: StructuralMutator) -> s_tir.SBlock:
        node = mutator.default_mutate(node)
        kept = [b for b in node.alloc_buffers if not any(b.same_as(output) for _, output in pairs)]
        return s_tir.SBlock(
            node.iter_vars, node.reads, node.writes, node.name_hint, node.body, node.init, kept,
            node.match_buffers, node.annotations,
        )  # fmt: skip

    entries = [(s_tir.SBlock, block), (tirx.Var, lambda var, _: replaced(var))]
    return func.with_body(tvm_ffi.structural_mutate(func.body, entries))
