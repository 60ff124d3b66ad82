"""Loops split where what they read is blocked, so that inside of packed layouts, heads and groups all is affine.

An ``unpack`` leaves reads such as ``x[n, c // 16, h, w, c % 16]``. Splitting the loop over ``c`` and the stage's own
buffer makes that ``x[n, co, h, w, ci]``, with vectors in ``ci``; the ``pack`` behind it becomes a plain copy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import tvm_ffi
from tvm import s_tir, tirx
from tvm.ir import Expr

from dsc.lower.exprs import static
from dsc.targets.cpu.generic.stages import Stage, stages


@dataclass(frozen=True)
class _Block:
    """How one iterator is split."""

    size: int
    innermost: bool
    """Whether places in a block are adjacent in memory: the inner loop goes behind all others then."""


def relayout(sch: s_tir.Schedule) -> bool:
    """Splits loops and private buffers of all stages, from the inputs on; whether there was something to split."""
    changed = False
    for found in stages(sch):
        stage = Stage.of(sch, found.block)
        blocks = [_block(stage, i) for i in stage.iters] if stage.regular else []
        if not any(blocks):
            continue
        spatial, reduce = blocks[: len(stage.spatial)], blocks[len(stage.spatial) :]
        try:
            sch.transform_block_layout(stage.block, _index_map(stage, spatial, reduce))
            changed = True
        except s_tir.ScheduleError:
            continue  # some stages have loops that TVM does not rebuild; they stay as they are
        if stage.direct and not stage.is_parameter(stage.buffer) and any(spatial):
            sch.transform_layout(stage.block, ("write", 0), _index_map(stage, spatial, []))
    return changed


def _block(stage: Stage, iterator: tirx.IterVar) -> _Block | None:
    """How the stage's reads divide the iterator; None where they do not, do it in several ways, or leave a rest."""
    sizes: set[int] = set()

    def divided(node: tirx.FloorDiv | tirx.FloorMod) -> None:
        if node.a.same_as(iterator.var):
            sizes.add(static(node.b) or 0)

    for access in stage.loads:
        for index in access.indices:
            tvm_ffi.structural_walk(index, [((tirx.FloorDiv, tirx.FloorMod), divided)])
    extent = static(iterator.dom.extent)
    if extent is None or len(sizes) != 1:
        return None
    (size,) = sizes
    innermost = any(
        isinstance(a.indices[-1], tirx.FloorMod) and a.indices[-1].a.same_as(iterator.var)
        for a in stage.loads
        if a.indices
    )
    return _Block(size, innermost) if 1 < size < extent and extent % size == 0 else None


def _index_map(stage: Stage, spatial: Sequence[_Block | None], reduce: Sequence[_Block | None]) -> tirx.IndexMap:
    def part(indices: Sequence[Expr], blocks: Sequence[_Block | None]) -> list[Expr]:
        found: list[Expr] = []
        for index, block in zip(indices, blocks, strict=True):
            found.append(index // block.size if block else index)
            if block and not block.innermost:
                found.append(index % block.size)
        pairs = zip(indices, blocks, strict=True)
        return found + [index % block.size for index, block in pairs if block and block.innermost]

    def apply(*indices: Expr) -> list[Expr]:
        return part(indices[: len(spatial)], spatial) + part(indices[len(spatial) :], reduce)

    dtype = str(stage.iters[0].var.ty)
    return tirx.IndexMap.from_func(apply, ndim=len(spatial) + len(reduce), index_dtype=dtype)
