"""Which stages share their outer loops, so that what one writes the next finds in L1."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tvm import tirx

from dsc.lower.exprs import same, static
from dsc.lower.nominal import volume
from dsc.targets.cpu.generic.stages import Stage, element_bits, is_at
from dsc.targets.cpu.generic.vectors import Axis, vector_axis
from dsc.targets.cpu.machine import Cpu

ROWS_PER_CORE = 4
"""Stages share loops only where that leaves each core as many iterations of them."""


MATTERS = 8
"""A stage with less than this part of a group's work is not worth vectors of its own."""


@dataclass(frozen=True)
class Group:
    """Successive stages that run in one nest: all of them for one row, then all for the next."""

    stages: tuple[Stage, ...]
    rows: int = 0
    """How many leading loops the stages share."""
    flat: bool = False
    """Whether the stages are elementwise over one shape, and share blocks of the flattened elements instead."""

    @property
    def work(self) -> int:
        """Nominal element operations."""
        return sum(stage.work for stage in self.stages)

    def row_volume(self, rows: int) -> int:
        """Nominal iterations of the first `rows` loops."""
        return volume(i.dom.extent for i in self.stages[0].spatial[:rows])


def group(stages: Sequence[Stage], machine: Cpu) -> list[Group]:
    """Greedily joins each stage to the group before it."""
    groups: list[Group] = []
    for stage in stages:
        joined = _join(groups[-1], stage, machine) if groups else None
        if joined is None:
            groups.append(_alone(stage))
        else:
            groups[-1] = joined
    return [_fewest_rows(g, machine) for g in groups]


def _alone(stage: Stage) -> Group:
    if not stage.regular:
        return Group((stage,))
    rows = _own_rows(stage)
    return Group((stage,), rows, flat=rows == 0 and not stage.reduce and vector_axis(stage) is not None)


def _join(group: Group, stage: Stage, machine: Cpu) -> Group | None:
    members = (*group.stages, stage)
    if not all(member.regular for member in members):
        return None
    if group.flat and _alone(stage).flat and _aligned_all(members, len(stage.spatial)) == len(stage.spatial):
        return Group(members, flat=True)
    joined = Group(members, _aligned_all(members, _rows_for_vectors(members)))
    enough = joined.row_volume(joined.rows) >= ROWS_PER_CORE * machine.cores
    return joined if joined.rows and enough else None


def _rows_for_vectors(members: Sequence[Stage]) -> int:
    """Rows that leave vectors to all members that matter; what happens once a row may as well be scalar."""
    work = sum(member.work for member in members)
    own = [_own_rows(m) if MATTERS * m.work > work else len(m.spatial) for m in members]
    return min(own)


def _own_rows(stage: Stage) -> int:
    """Leading spatial loops outside of the one that is vectorized."""
    axis = vector_axis(stage)
    return axis.first if axis is not None and axis.kind is Axis.Kind.SPATIAL else len(stage.spatial)


def _aligned_all(members: Sequence[Stage], rows: int) -> int:
    """How many leading loops the members have in common, reading of one another only what lies in the same row."""
    first = members[0].spatial
    for member in members[1:]:
        rows = min(rows, _common(first, member.spatial))
    for reader in members:
        for writer in members:
            rows = min(rows, _aligned(reader, writer, rows))
    return rows


def _common(first: Sequence[tirx.IterVar], second: Sequence[tirx.IterVar]) -> int:
    rows = 0
    for a, b in zip(first, second, strict=False):
        if not same(a.dom.extent, b.dom.extent):
            break
        rows += 1
    return rows


def _aligned(reader: Stage, writer: Stage, rows: int) -> int:
    for access in reader.loads:
        if access.buffer.same_as(writer.buffer):
            if not writer.direct:
                return 0
            for axis in range(rows):
                if not is_at(access.indices[axis], reader.spatial[axis]):
                    rows = axis
                    break
    return rows


def _fewest_rows(group: Group, machine: Cpu) -> Group:
    """Elementwise stages share only as many loops as parallelism asks for: separate loops need no index arithmetic."""
    if any(stage.reduce for stage in group.stages) and len(group.stages) > 1:
        return group
    stored = sum(volume(s.buffer.shape) * element_bits(s.buffer) // 8 for s in group.stages[:-1])
    for rows in range(1, group.rows):
        sizes = [i.dom.extent for i in group.stages[0].spatial[:rows]]
        known = math.prod(static(size) or 1 for size in sizes)
        if known >= ROWS_PER_CORE * machine.cores and stored // volume(sizes) <= machine.l1_bytes // 2:
            return Group(group.stages, rows)
    return group
