"""Schedules any function for a CPU: joined, vectorized, parallel."""

from __future__ import annotations

import math

import tvm_ffi
from tvm import s_tir, tirx

from dsc.lower.exprs import static
from dsc.lower.nominal import nominal
from dsc.targets.cpu.generic.flatten import flatten
from dsc.targets.cpu.generic.groups import Group, group
from dsc.targets.cpu.generic.inplace import reusable, reuse
from dsc.targets.cpu.generic.nests import Nest, elementwise, loops_for_all, reduction, start_outside
from dsc.targets.cpu.generic.peel import peel
from dsc.targets.cpu.generic.prepare import REFUSED, empty, warn
from dsc.targets.cpu.generic.stages import stages
from dsc.targets.cpu.generic.vectors import lanes
from dsc.targets.cpu.machine import Cpu

PARALLEL = "dsc.parallel"
CHUNK = 64
"""Vectors in a block of flattened elements: what one iteration of the parallel loop does."""
LAUNCHES = 3
"""Work worth a parallel region takes one core as many times longer than a launch."""


def schedule(func: tirx.PrimFunc, machine: Cpu) -> tirx.PrimFunc:
    """A function that `prepare` made, with a schedule for `machine`.

    What TVM's primitives refuse stays without a schedule: every function comes back as one that can be built.
    """
    if empty(func):
        return func
    try:
        return _scheduled(func, machine)
    except REFUSED as error:
        warn("no schedule", func, error)
        sch = s_tir.Schedule(func)
        start_outside(sch)
        return sch.mod["main"]


def _scheduled(func: tirx.PrimFunc, machine: Cpu) -> tirx.PrimFunc:
    sch = s_tir.Schedule(func)
    found = stages(sch)
    groups = group(found, machine)
    loops_for_all(sch, found)
    for part in groups:
        _schedule_group(sch, part, machine)
    start_outside(sch)
    func = peel(flatten(reuse(sch.mod["main"], reusable(groups, machine))))
    return func.with_body(tvm_ffi.structural_map(func.body, (tirx.For, _parallel)))


def _schedule_group(sch: s_tir.Schedule, part: Group, machine: Cpu) -> None:
    if not all(stage.regular for stage in part.stages):
        return
    nests: list[Nest] = []
    chunk = _chunk(part, machine) if part.flat else None
    for stage in part.stages:
        if stage.reduce:
            nests += reduction(sch, stage, part.rows, machine)
        else:
            nests += elementwise(sch, stage, part.rows, machine, chunk)
    row = nests[0].row
    if row is None:
        return
    if len(nests) > 1:
        row = sch.merge(*(nest.row for nest in nests))
    extent = sch.get(row).extent
    whole = static(extent) is not None or not nests[0].ragged
    if whole and nominal(extent) > 1 and worth_a_launch(seconds(part.work, machine), machine):
        sch.annotate(row, PARALLEL, 1)


def _chunk(part: Group, machine: Cpu) -> int:
    """Elements of a block that all stages of a flat group share: CHUNK vectors of the narrowest of their types."""
    extent = math.prod(i.dom.extent for i in part.stages[0].spatial)
    return CHUNK * max(lanes(extent, stage.element_bits(), machine) for stage in part.stages)


def _parallel(loop: tirx.For) -> tirx.For:
    """Marked loops become parallel when all is done: TVM's primitive would not take initialized reductions."""
    if PARALLEL not in loop.annotations:
        return loop
    return tirx.For(loop.loop_var, loop.min, loop.extent, tirx.ForKind.PARALLEL, loop.body)


def worth_a_launch(seconds: float, machine: Cpu) -> bool:
    """Whether what takes one core so long is to be shared between cores."""
    return machine.cores > 1 and seconds > LAUNCHES * machine.launch_seconds


def seconds(work: int, machine: Cpu) -> float:
    """How long `work` element operations take one core, at one vector a cycle."""
    return work / (machine.frequency * machine.lanes() * machine.vector_rate)
