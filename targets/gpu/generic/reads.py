"""What a launch reads of memory, and how that lies there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tvm import te, tirx
from tvm.ir import Expr

from dsc.lower.exprs import dims, same
from dsc.targets.cpu.inline import Leaf, identity
from dsc.targets.gpu.access import ranges
from dsc.targets.gpu.axes import Axis
from dsc.targets.gpu.elements import Elements, limits
from dsc.targets.gpu.generic.rows import Output, Reduced, Rows
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


@dataclass(frozen=True, eq=False)
class Walk:
    """What a reduction, or a result, reads of an input, and how far apart neighbours are there; None where that
    varies."""

    source: te.Tensor
    indices: tuple[Expr, ...]
    axes: tuple[tirx.IterVar, ...]
    """Of the reduction."""
    in_row: int | None
    """Neighbours that are put together."""
    across: int | None
    """Those of neighbouring rows."""
    conditions: tuple[Expr, ...]
    """Under which it is read."""


def walks(rows: Rows, found: Reduced, memory: Sequence[te.Tensor]) -> list[Walk]:
    """All that a reduction of several rows reads of `memory`, in the order in which an element of it does."""
    axes = tuple(found.tensor.op.reduce_axis)
    return _walks(
        rows, found.tensor, axes, memory,
        lambda elements: elements.source(found.tensor.op, found.at, [axis.var for axis in axes]),
    )  # fmt: skip


def walks_of_output(rows: Rows, output: Output, memory: Sequence[te.Tensor]) -> list[Walk]:
    """The same of a result that has one element for a row."""
    return _walks(rows, output.tensor, (), memory, lambda elements: elements.at(output.tensor, output.at))


def _walks(
    rows: Rows,
    tensor: te.Tensor,
    axes: tuple[tirx.IterVar, ...],
    memory: Sequence[te.Tensor],
    compute: Callable[[Elements], Expr],
) -> list[Walk]:
    last = next((axis.var for axis in reversed(axes) if not same(axis.dom.extent, 1)), axes[0].var if axes else None)
    known = ranges(rows.axes, rows.shape)
    limits(known, axes, [axis.var for axis in axes])
    neighbour = rows.axes[rows.across[-1]]
    noted: list[Walk] = []

    def reading(source: te.Tensor) -> Leaf:
        def leaf(indices: Sequence[Expr]) -> Expr:
            shape = dims(source.shape)
            in_row = None if last is None else step(indices, shape, last)
            across = step(indices, shape, neighbour)
            noted.append(Walk(source, tuple(indices), axes, in_row, across, tuple(elements.conditions)))
            return tirx.Var("loaded", str(source.dtype))

        return leaf

    leaves = {source: reading(source) for source in memory if identity(source) != identity(tensor)}
    leaves |= {r.tensor: _free(r.tensor) for r in rows.reduced if identity(r.tensor) != identity(tensor)}
    elements = Elements(leaves, known)
    with function():
        compute(elements)
    return noted


def _free(tensor: te.Tensor) -> Leaf:
    return lambda _: tirx.Var("reduced", str(tensor.dtype))
