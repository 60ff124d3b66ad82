"""The loops of one stage: rows outside, then vectors, accumulators and trees of partial results."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tvm import s_tir
from tvm.s_tir.schedule import LoopRV, SBlockRV

from dsc.lower.exprs import static
from dsc.targets.cpu.generic.flatten import mark
from dsc.targets.cpu.generic.peel import RAGGED
from dsc.targets.cpu.generic.stages import Stage, stages
from dsc.targets.cpu.generic.vectors import Axis, lanes, vector_axis
from dsc.targets.cpu.machine import Cpu


@dataclass(frozen=True)
class Nest:
    """The loops of one block after it has been scheduled: `row` can be merged with others and be parallel."""

    row: LoopRV | None
    ragged: bool = False
    """Whether the last iteration of `row` is to be peeled; by TVM where the length is symbolic, and TVM does not do
    that with parallel loops."""


def elementwise(sch: s_tir.Schedule, stage: Stage, rows: int, machine: Cpu, chunk: int | None) -> list[Nest]:
    """Vectorizes the innermost loops of a stage without reduction; in blocks of `chunk` elements, if given."""
    loops = sch.get_loops(stage.block)
    axis = vector_axis(stage)
    row = _fuse(sch, loops[:rows])
    first = len(loops) if axis is None else max(rows, axis.first)
    inner = _fuse(sch, loops[first:])
    if inner is None:
        return [Nest(row or (loops[0] if loops else None))]
    width = lanes(sch.get(inner).extent, stage.element_bits(), machine)
    if chunk is not None:
        row, inner = sch.split(inner, [None, chunk])
    _vectorize(sch, inner, width)
    if not stage.touches_private:
        mark(sch, stage, first)
    return [Nest(row)]


def reduction(sch: s_tir.Schedule, stage: Stage, rows: int, machine: Cpu) -> list[Nest]:
    """Vectorizes a reduction: over results where they are adjacent in memory, else over partial results."""
    axis = vector_axis(stage)
    width = 1 if axis is None else lanes(axis.extent, stage.element_bits(), machine)
    spatial = axis is not None and axis.kind is Axis.Kind.SPATIAL
    if axis is None or width == 1 or (spatial and axis.first < rows):
        loops = sch.get_loops(stage.block)
        return [Nest(_fuse(sch, loops[:rows]) or (loops[0] if stage.spatial else None))]
    if spatial:
        return [_spatial_reduction(sch, stage, axis, width, rows)]
    return _partial_reductions(sch, stage, axis, width, rows)


def _spatial_reduction(sch: s_tir.Schedule, stage: Stage, axis: Axis, width: int, rows: int) -> Nest:
    """rows, other results, vectors of results { accumulators; reduction; copy }."""
    copy = sch.cache_write(stage.block, 0, "local")
    loops = sch.get_loops(stage.block)
    row = _fuse(sch, loops[:rows])
    inner = _fuse(sch, loops[max(rows, axis.first) : len(stage.spatial)])
    assert inner is not None
    outer, lane = sch.split(inner, [None, width])
    walk = loops[len(stage.spatial) :]
    sch.reorder(outer, *walk, lane)
    sch.vectorize(lane)
    sch.annotate(outer, RAGGED, 1)
    sch.reverse_compute_at(copy, outer)
    copied = sch.get_loops(copy)
    sch.vectorize(copied[-1])
    sch.decompose_reduction(stage.block, walk[0])
    return Nest(row or outer, ragged=row is None)


def _partial_reductions(sch: s_tir.Schedule, stage: Stage, axis: Axis, width: int, rows: int) -> list[Nest]:
    """Partial results in lanes over the contiguous loops, then halves added to halves until one is left.

    Those of integers are left to LLVM, which knows that their order does not matter. Of halves of one vector of
    products of bytes, or of differences, it makes an instruction that adds up some of them, and forgets the others.
    """
    spatial = len(stage.spatial)
    contiguous = _fuse(sch, sch.get_loops(stage.block)[spatial + axis.first :])
    assert contiguous is not None
    _, lane = sch.split(contiguous, [None, width])
    partials = [sch.rfactor(lane, factor_axis=spatial)]
    while width > 2 and "float" in str(stage.buffer.dtype):
        width //= 2
        _, lane = sch.split(sch.get_loops(stage.block)[-1], [2, width])
        partials.append(sch.rfactor(lane, factor_axis=spatial))
    found = [_partial(sch, partial, spatial, rows) for partial in partials]
    loops = sch.get_loops(stage.block)
    return [*found, Nest(_fuse(sch, loops[:rows]))]


def _partial(sch: s_tir.Schedule, block: SBlockRV, spatial: int, rows: int) -> Nest:
    loops = sch.get_loops(block)
    row = _fuse(sch, loops[:rows])
    *walk, lane = loops[spatial:]
    sch.set_scope(block, 0, "local")
    sch.vectorize(lane)
    sch.annotate(walk[-1], RAGGED, 1)
    sch.decompose_reduction(block, walk[0])
    return Nest(row)


def loops_for_all(sch: s_tir.Schedule, found: Iterable[Stage]) -> None:
    """Gives a block without loops one: TVM's `rfactor` takes none beside the one it splits."""
    for stage in found:
        if not sch.get_loops(stage.block):
            sch.add_unit_loop(stage.block)


def start_outside(sch: s_tir.Schedule) -> None:
    """Writes the start values of reductions ahead of their loops: inside, a loop of no iterations would write none."""
    for stage in stages(sch):
        may_be_none = any(static(i.dom.extent) is None for i in stage.reduce)
        if may_be_none and sch.get(stage.block).init is not None:
            sch.decompose_reduction(stage.block, sch.get_loops(stage.block)[-len(stage.reduce)])


def _vectorize(sch: s_tir.Schedule, loop: LoopRV, width: int) -> None:
    if width == 1:
        return
    if static(sch.get(loop).extent) == width:
        sch.vectorize(loop)
        return
    outer, lane = sch.split(loop, [None, width])
    sch.vectorize(lane)
    sch.annotate(outer, RAGGED, 1)


def _fuse(sch: s_tir.Schedule, loops: list[LoopRV]) -> LoopRV | None:
    if not loops:
        return None
    return loops[0] if len(loops) == 1 else sch.fuse(*loops)
