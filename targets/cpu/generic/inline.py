"""Which stages are computed where they are read, instead of being stored."""

from __future__ import annotations

from tvm import s_tir
from tvm.s_tir.schedule import SBlockRV

from dsc.lower.exprs import same
from dsc.targets.cpu.generic.stages import Stage, stages, uses
from dsc.targets.cpu.generic.vectors import vector_axis

CHEAP = 2
"""Extra vector additions per element that are cheaper than a store and the loads of it."""


TAPS = 32
"""How often a stage under conditions may be computed again for each of its elements."""


def inline(sch: s_tir.Schedule) -> None:
    """Inlines every injective stage for which reading it back would cost more than computing it again."""
    for stage in stages(sch):
        if not stage.inlinable:
            continue
        consumers = [Stage.of(sch, block) for block in sch.get_consumers(stage.block)]
        if consumers and all(c.inlines for c in consumers) and _pays(Stage.of(sch, stage.block), consumers):
            _try_inline(sch, stage.block)


def inline_padding(sch: s_tir.Schedule) -> None:
    """Inlines stages under conditions into windowed reductions, where whole vectors lie inside or outside.

    A branch for each tap is cheaper than a padded copy of the input. Loops must be in their final layout.
    """
    for found in stages(sch):
        stage = Stage.of(sch, found.block)
        consumers = [Stage.of(sch, block) for block in sch.get_consumers(found.block)]
        if not stage.regular or not stage.inlinable or not stage.body.conditions or not _uniform(stage):
            continue
        reads = sum(_reads(consumer, stage) for consumer in consumers)
        if consumers and all(c.inlines for c in consumers) and reads <= TAPS * stage.iterations:
            _try_inline(sch, stage.block)


def _uniform(stage: Stage) -> bool:
    """Whether the conditions are the same for all places along the contiguous loop, which is the vectorized one."""
    axis = vector_axis(stage)
    inner = [i.var for i in stage.spatial if not same(i.dom.extent, 1)][-1:]
    return axis is not None and not any(uses(c, var) for c in stage.body.conditions for var in inner)


def _pays(stage: Stage, consumers: list[Stage]) -> bool:
    reads = sum(_reads(consumer, stage) for consumer in consumers)
    times = reads / max(1, stage.iterations)
    if times <= 1:
        return True
    if stage.body.conditions and any(c.reduce and _reads(c, stage) > stage.iterations for c in consumers):
        return False
    return (stage.body.cost + len(stage.loads) - 1) * (times - 1) <= CHEAP


def _reads(consumer: Stage, stage: Stage) -> int:
    loads = [access for access in consumer.loads if access.buffer.same_as(stage.buffer)]
    return consumer.iterations * len(loads)


def _try_inline(sch: s_tir.Schedule, block: SBlockRV) -> None:
    try:
        sch.compute_inline(block)
    except s_tir.ScheduleError:
        return  # an output of the function is stored anyway
