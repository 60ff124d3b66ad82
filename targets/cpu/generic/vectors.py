"""Which loops of a stage become vectors."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum, auto

from tvm.ir import Expr

from dsc.lower.exprs import same, static
from dsc.lower.nominal import nominal
from dsc.targets.cpu.generic.stages import Stage, uses
from dsc.targets.cpu.machine import Cpu

LONG = 8
"""A ragged extent of at least so many times the widest vectors takes them, and a longer rest."""
RUN = 256
"""So many elements on one side of a condition are worth vectors of their own: one with elements of both sides, as where
two tensors are joined, would be taken apart."""
SIMPLIFIED = 2
"""Loops that TVM can fuse and still see that the fused one walks in steps of one. `flatten` helps with more, but not
where a buffer is the function's own: TVM would cut too little of it out for a row."""


@dataclass(frozen=True)
class Axis:
    """Adjacent loops that walk through memory like one, and are vectorized as one."""

    class Kind(Enum):
        """What an element of the vector is."""

        SPATIAL = auto()
        """One result: no stage crosses lanes."""
        REDUCE = auto()
        """A partial result: lanes are combined at the end."""

    kind: Axis.Kind
    first: int
    """Position of the outermost of the loops, among the spatial or among the reduction loops."""
    extent: Expr | int
    """Product of their extents."""


def vector_axis(stage: Stage) -> Axis | None:
    """The loops of `stage` that walk through memory in steps of one; None where there are none."""
    spatial = _suffix(stage, len(stage.spatial), 0)
    if spatial is not None and (not stage.reduce or _long_enough(spatial.extent)):
        return spatial
    if stage.reduce:
        reduce = _suffix(stage, len(stage.iters), len(stage.spatial))
        if reduce is not None and _long_enough(reduce.extent):
            return reduce
    return spatial


def _long_enough(extent: Expr | int) -> bool:
    return nominal(extent) >= 4


def _suffix(stage: Stage, stop: int, start: int) -> Axis | None:
    """The longest run of loops before `stop`, none before `start`, that is one walk with steps of zero or one."""
    while stop > start and same(stage.iters[stop - 1].dom.extent, 1):
        stop -= 1
    if stop == start:
        return None
    inner = stage.strides[stop - 1]
    stores = start == 0
    if (stores and inner[0] != 1) or not all(step in (0, 1) for step in inner) or 1 not in inner:
        return None
    room = _room(stage, stores)
    first, extent = stop - 1, stage.iters[stop - 1].dom.extent
    room -= not same(extent, 1)
    while first > start and _continues(stage.strides[first - 1], inner, extent):
        if nominal(extent) >= RUN and any(uses(c, stage.iters[first - 1].var) for c in stage.body.conditions):
            break
        size = stage.iters[first - 1].dom.extent
        room -= not same(size, 1)
        if room < 0:
            break
        first -= 1
        extent = extent * size
    known = static(extent)
    kind = Axis.Kind.SPATIAL if stores else Axis.Kind.REDUCE
    return Axis(kind, first - start, extent if known is None else known)


def _room(stage: Stage, stores: bool) -> int:
    """How many loops may be fused; those of one iteration do not count."""
    if stage.reduce and stores:
        return 1  # vectors of results are copied out of accumulators, and TVM copies whole rows where loops are fused
    return SIMPLIFIED if stage.reduce or stage.touches_private else len(stage.iters)


def _continues(outer: tuple[Expr | int | None, ...], inner: tuple[Expr | int | None, ...], extent: Expr | int) -> bool:
    return all(o is not None and same(o, extent if i == 1 else 0) for o, i in zip(outer, inner, strict=True))


def lanes(extent: Expr | int, element_bits: int, machine: Cpu, unroll: int = 4) -> int:
    """Elements of the vectors over `extent`: up to `unroll` registers, as many as divide it where one does, and all
    where a rest weighs little.

    1 where the extent is shorter than one register.
    """
    one = machine.lanes(element_bits)
    known = static(extent)
    if known is None:
        return one
    if known < one:
        return known if known >= 4 and known & (known - 1) == 0 else 1
    if known % one == 0:
        return math.gcd(known // one, unroll) * one
    return unroll * one if known >= LONG * unroll * one else one
