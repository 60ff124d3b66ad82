"""Schedules any function for a CPU: inlined, joined, vectorized, parallel."""

from __future__ import annotations

import logging

import tvm
import tvm_ffi
from tvm import s_tir, tirx
from tvm_ffi.structural import StructuralMutator

from dsc.targets.cpu.generic.flatten import flatten
from dsc.targets.cpu.generic.groups import Group, group
from dsc.targets.cpu.generic.inline import inline, inline_padding
from dsc.targets.cpu.generic.inplace import reusable, reuse
from dsc.targets.cpu.generic.nests import Nest, elementwise, reduction
from dsc.targets.cpu.generic.peel import peel
from dsc.targets.cpu.generic.reciprocal import multiply_by_reciprocals
from dsc.targets.cpu.generic.relayout import relayout
from dsc.targets.cpu.generic.sizes import nominal, static
from dsc.targets.cpu.generic.stages import stages
from dsc.targets.cpu.generic.variables import renewed
from dsc.targets.machine import Machine

_LOG = logging.getLogger(__name__)
PARALLEL = "dsc.parallel"
RELAYOUTS = 2
"""Blocks within blocks appear once the outer ones are loops: 8 channels of 16, when such layouts meet."""
LAUNCHES = 3
"""Work worth a parallel region takes one core as many times longer than a launch."""


def schedule(func: tirx.PrimFunc, machine: Machine) -> tirx.PrimFunc:
    """`func` as `te.create_prim_func` made it, with a schedule for `machine`.

    What TVM's primitives refuse stays without a schedule: every function comes back as one that can be built.
    """
    if _empty(func):
        return func
    try:
        return _scheduled(func, machine)
    except (s_tir.ScheduleError, tvm.error.InternalError) as error:
        _LOG.warning("no schedule for %s, its loops stay as they are: %s", _blocks(func), _last_line(error))
        return func


def _scheduled(func: tirx.PrimFunc, machine: Machine) -> tirx.PrimFunc:
    sch = prepared(func)
    groups = group(stages(sch), machine)
    for part in groups:
        _schedule_group(sch, part, machine)
    func = peel(flatten(reuse(sch.mod["main"], reusable(groups, machine))))
    return func.with_body(tvm_ffi.structural_map(func.body, (tirx.For, _parallel)))


def _blocks(func: tirx.PrimFunc) -> str:
    return " -> ".join(stage.name for stage in stages(s_tir.Schedule(func)))


def _last_line(error: Exception) -> str:
    return next((line for line in reversed(str(error).splitlines()) if line.strip()), "")


def prepared(func: tirx.PrimFunc) -> s_tir.Schedule:
    """The stages of `func` that are worth a loop nest, with affine accesses where blocked layouts allow it."""
    sch = s_tir.Schedule(func)
    inline(sch)
    for _ in range(RELAYOUTS):
        relayout(sch)
        sch = s_tir.Schedule(_simplified(renewed(sch.mod["main"])))
    inline_padding(sch)
    return s_tir.Schedule(multiply_by_reciprocals(renewed(sch.mod["main"])))


def _simplified(func: tirx.PrimFunc) -> tirx.PrimFunc:
    """Simplifies indices, and binds iterators to their loops again where those have one iteration."""
    func = s_tir.transform.StmtSimplify()(tvm.IRModule({"main": func}))["main"]
    loops: list[tirx.For] = []

    def loop(node: tirx.For, mutator: StructuralMutator) -> tirx.For:
        loops.append(node)
        node = mutator.default_mutate(node)
        loops.pop()
        return node

    def realize(node: s_tir.SBlockRealize, mutator: StructuralMutator) -> s_tir.SBlockRealize:
        if not node.iter_values or len(loops) != len(node.iter_values):
            return mutator.default_mutate(node)
        values = [x.loop_var if static(v) == 0 else v for x, v in zip(loops, node.iter_values, strict=True)]
        return s_tir.SBlockRealize(values, node.predicate, node.block)

    return func.with_body(
        tvm_ffi.structural_mutate(func.body, [(tirx.For, loop), (s_tir.SBlockRealize, realize)])
    )


def _empty(func: tirx.PrimFunc) -> bool:
    return any(
        static(size) == 0 for buffer in func.params if tirx.is_buffer_var(buffer) for size in buffer.shape
    )


def _schedule_group(sch: s_tir.Schedule, part: Group, machine: Machine) -> None:
    if not all(stage.regular for stage in part.stages):
        return
    nests: list[Nest] = []
    for stage in part.stages:
        if stage.reduce:
            nests += reduction(sch, stage, part.rows, machine)
        else:
            nests += elementwise(sch, stage, part.rows, machine, flat=part.flat)
    row = nests[0].row
    if row is not None and len(nests) > 1:
        row = sch.merge(*(nest.row for nest in nests))
    if (
        row is not None
        and worth_a_launch(seconds(part.work, machine), machine)
        and nominal(sch.get(row).extent) > 1
    ):
        sch.annotate(row, PARALLEL, 1)


def _parallel(loop: tirx.For) -> tirx.For:
    """Marked loops become parallel when all is done: TVM's primitive would not take initialized reductions."""
    if PARALLEL not in loop.annotations:
        return loop
    return tirx.For(loop.loop_var, loop.min, loop.extent, tirx.ForKind.PARALLEL, loop.body)


def worth_a_launch(seconds: float, machine: Machine) -> bool:
    """Whether what takes one core so long is to be shared between cores."""
    return machine.cores > 1 and seconds > LAUNCHES * machine.launch_seconds


def seconds(work: int, machine: Machine) -> float:
    """How long `work` element operations take one core, at one vector a cycle."""
    return work / (machine.frequency * machine.lanes() * machine.fma_vectors)
