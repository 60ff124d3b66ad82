"""What a product of a few rows computes, apart from how threads share it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from tvm import te, tirx
from tvm.ir import Expr

from dsc.lower.exprs import Dim, product
from dsc.lower.nominal import nominal, volume
from dsc.lower.workload import Workload
from dsc.targets.gpu.contraction.source import Contraction, contraction_of
from dsc.targets.gpu.machine import Gpu
from dsc.targets.gpu.vector_product.neighbours import Neighbours, neighbours
from dsc.targets.kernel import Refusal

MOST_ROWS = 16
"""More are worth a tile in shared memory, of which each element of the matrix is used as often as it has rows."""


@dataclass(frozen=True, eq=False)
class Side:
    """One of the two operands, and the axes of the result that are its own."""

    operand: Expr
    axes: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class VectorProduct:
    """``acc[batch.., row, column] = sum over depth of vectors[batch.., row, depth] * matrix[batch.., depth, column]``,
    with few rows, and its epilogue.

    Which of the operands is the matrix, is for their sizes to say: a product by one column is one of one row.
    """

    contraction: Contraction
    vectors: Side
    """The operand with few rows."""
    matrix: Side
    machine: Gpu

    @property
    def stage(self) -> te.ComputeOp:
        """Of the sums."""
        return self.contraction.acc.op

    @property
    def rows(self) -> tuple[Dim, ...]:
        """Dims that make up a row's number."""
        return self._sizes(self.vectors.axes)

    @property
    def columns(self) -> tuple[Dim, ...]:
        """Dims that make up a column's number."""
        return self._sizes(self.matrix.axes)

    @property
    def batch(self) -> tuple[Dim, ...]:
        """Dims of problems of their own."""
        return self._sizes(self._batch_axes)

    @property
    def m(self) -> Dim:
        """Rows."""
        return product(self.rows)

    @property
    def n(self) -> Dim:
        """Columns."""
        return product(self.columns)

    @cached_property
    def along_columns(self) -> Neighbours:
        """Neighbours of the matrix from column to column."""
        return self._neighbours(self.matrix, [self.stage.axis[a] for a in self.matrix.axes])

    @cached_property
    def along_depth(self) -> Neighbours:
        """Those in depth."""
        return self._neighbours(self.matrix, self.stage.reduce_axis)

    @cached_property
    def vectors_along_depth(self) -> Neighbours:
        """Neighbours in depth of the operand with few rows."""
        return self._neighbours(self.vectors, self.stage.reduce_axis)

    @property
    def by_depth(self) -> bool:
        """Whether the neighbours that threads read together differ in depth, not in column."""
        return not self.along_columns.tensors

    def at(self, batch: Sequence[Expr], rows: Sequence[Expr], columns: Sequence[Expr]) -> list[Expr]:
        """Indices of the result."""
        axes = (*self._batch_axes, *self.vectors.axes, *self.matrix.axes)
        placed = dict(zip(axes, (*batch, *rows, *columns), strict=True))
        return [placed[a] for a in range(len(placed))]

    @property
    def _batch_axes(self) -> tuple[int, ...]:
        taken = {*self.vectors.axes, *self.matrix.axes}
        return tuple(a for a in range(len(self.contraction.shape)) if a not in taken)

    def _sizes(self, axes: Sequence[int]) -> tuple[Dim, ...]:
        return tuple(self.contraction.shape[a] for a in axes)

    def _neighbours(self, side: Side, axes: Sequence[tirx.IterVar]) -> Neighbours:
        memory = self.contraction.params
        return neighbours(self.stage, side.operand, memory, axes, self.machine.vector_bytes)


def vector_product_of(workload: Workload, machine: Gpu) -> VectorProduct | Refusal:
    """The product of a few rows that `workload` is, or why it is none."""
    found = contraction_of(workload, single_row=True)
    if isinstance(found, Refusal):
        return found
    down, across = found.split
    rows = Side(found.a, tuple(range(down, across)))
    columns = Side(found.b, tuple(range(across, len(found.shape))))
    few, many = (rows, columns) if nominal(found.m) <= nominal(found.n) else (columns, rows)
    source = VectorProduct(found, few, many, machine)
    if nominal(source.m) > MOST_ROWS:
        return Refusal(f"{nominal(source.m)} rows: more than {MOST_ROWS} are worth tiles")
    read = source.along_depth if source.by_depth else source.along_columns
    if not read.tensors:
        return Refusal("neither columns nor depths of the matrix are neighbours in memory")
    elements = volume((*source.batch, *source.columns, *found.depth))
    if any(volume(tensor.shape) < elements for tensor in read.tensors):
        return Refusal("elements of the matrix are read several times")
    return source
