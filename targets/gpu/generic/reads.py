"""What a launch reads of memory, and how that lies there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tvm import te, tirx
from tvm.ir import Expr

from dsc.lower.exprs import dims, same
from dsc.targets.cpu.inline import Leaf, identity
from dsc.targets.gpu.access import ranges
from dsc.targets.gpu.axes import Axis
from dsc.targets.gpu.elements import Elements, limits
from dsc.targets.gpu.generic.rows import Reduced, Rows
from dsc.targets.gpu.neighbours import Read, distinct
from dsc.targets.gpu.strides import step
from dsc.targets.tir.loops import function


def reads(rows: Rows, memory: Sequence[te.Tensor]) -> list[Read]:
    """What results without reductions read of `memory`, by their indices."""
    axes = [Axis(var, size) for var, size in zip(rows.axes, rows.shape, strict=True)]
    found: list[Read] = []

    def reading(source: te.Tensor) -> Leaf:
        def leaf(indices: Sequence[Expr]) -> Expr:
            found.append(Read.of(source, indices, axes))
            return tirx.Var("loaded", str(source.dtype))

        return leaf

    written = [identity(output.tensor) for output in rows.outputs]
    with function():
        elements = Elements({source: reading(source) for source in memory if identity(source) not in written})
        for output in rows.outputs:
            elements.at(output.tensor, output.at)
    return distinct(found)


@dataclass(frozen=True)
class Steps:
    """How far apart in memory neighbours are, of an input that a reduction reads; None where that varies."""

    in_row: int | None
    """Neighbours that are put together."""
    across: int | None
    """Those of neighbouring rows."""


def steps(rows: Rows, found: Reduced, memory: Sequence[te.Tensor]) -> list[Steps]:
    """Those of all that a reduction of several rows reads of `memory`."""
    axes = found.tensor.op.reduce_axis
    *_, last = [axis.var for axis in axes if not same(axis.dom.extent, 1)] or [axes[0].var]
    known = ranges(rows.axes, rows.shape)
    limits(known, axes, [axis.var for axis in axes])
    neighbour = rows.axes[rows.across[-1]]
    noted: list[Steps] = []

    def reading(source: te.Tensor) -> Leaf:
        def leaf(indices: Sequence[Expr]) -> Expr:
            shape = dims(source.shape)
            noted.append(Steps(step(indices, shape, last), step(indices, shape, neighbour)))
            return tirx.Var("loaded", str(source.dtype))

        return leaf

    leaves = {source: reading(source) for source in memory if identity(source) != identity(found.tensor)}
    leaves |= {r.tensor: _free(r.tensor) for r in rows.reduced if identity(r.tensor) != identity(found.tensor)}
    with function():
        Elements(leaves, known).source(found.tensor.op, found.at, [axis.var for axis in axes])
    return noted


def _free(tensor: te.Tensor) -> Leaf:
    return lambda _: tirx.Var("reduced", str(tensor.dtype))
