"""What a product of a few rows computes, apart from how threads share it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from tvm.ir import Expr

from dsc.lower.exprs import Dim, product, same
from dsc.lower.nominal import nominal, volume
from dsc.lower.stages import element_bytes
from dsc.lower.workload import Workload
from dsc.targets.gpu.contraction.factors import Factor
from dsc.targets.gpu.contraction.packing import packed
from dsc.targets.gpu.contraction.source import Contraction, product_of
from dsc.targets.gpu.machine import Gpu
from dsc.targets.gpu.vector_product.operand import Operand
from dsc.targets.kernel import Refusal

MOST_ROWS = 16
"""More are worth a tile in shared memory, of which each element of the matrix is used as often as it has rows."""


@dataclass(frozen=True, eq=False)
class VectorProduct:
    """``sums[batch.., row, column] = sum over depth of vectors[batch.., row, depth] * matrix[batch.., column, depth]``,
    with few rows, and its epilogue.

    Which of the operands is the matrix, is for their sizes to say: a product by one column is one of one row.
    """

    contraction: Contraction
    machine: Gpu
    vectors: Operand
    """The operand with few rows."""
    matrix: Operand
    is_turned: bool
    """Whether the rows are what the contraction has for columns."""

    @property
    def rows(self) -> tuple[Dim, ...]:
        """Sizes of the axes that make up a row's number."""
        return self.vectors.side

    @property
    def columns(self) -> tuple[Dim, ...]:
        """Sizes of the axes that make up a column's number."""
        return self.matrix.side

    @cached_property
    def m(self) -> Dim:
        """Rows."""
        return product(self.rows)

    @cached_property
    def n(self) -> Dim:
        """Columns."""
        return product(self.columns)

    @cached_property
    def by_depth(self) -> bool:
        """Whether neighbours of the matrix in memory differ in depth, not in column."""
        return not self.matrix.beside(self.matrix.factor.side_axes)

    @cached_property
    def is_stored_by_row(self) -> bool:
        """Whether neighbours in the result are of one column: those of a contraction are along its columns."""
        return self.is_turned and not same(self.m, 1)

    @cached_property
    def axes(self) -> range:
        """Of the matrix, along which its elements are neighbours in memory."""
        return self.matrix.factor.depth_axes if self.by_depth else self.matrix.factor.side_axes

    @cached_property
    def together(self) -> int:
        """Elements of the matrix that one load gives."""
        return self.matrix.together(self.axes)

    @cached_property
    def element_bytes(self) -> int:
        """Of an element of the matrix in memory."""
        return self.matrix.element_bytes(self.axes)

    @cached_property
    def vectors_together(self) -> int:
        """Neighbours in depth that one load gives of a row."""
        return self.vectors.together(self.vectors.factor.depth_axes)

    def at(self, batch: Sequence[Expr], rows: Sequence[Expr], columns: Sequence[Expr]) -> list[Expr]:
        """The indices of a sum as the contraction has them."""
        return [*batch, *columns, *rows] if self.is_turned else [*batch, *rows, *columns]


def vector_product_of(workload: Workload, machine: Gpu) -> VectorProduct | Refusal:
    """The product of a few rows that `workload` is, or why it is none."""
    found = product_of(workload)
    if isinstance(found, Refusal):
        return found
    few = min(nominal(found.m), nominal(found.n))
    if few > MOST_ROWS:
        return Refusal(f"{few} rows: more than {MOST_ROWS} are worth tiles")
    found = _with_constant_rows(found, workload)
    found = _with_constant_columns(found, workload, machine)
    a, b = (Operand.of(factor, found.params, machine.vector_bytes) for factor in (found.a, found.b))
    is_turned = nominal(found.n) < nominal(found.m)
    vectors, matrix = (b, a) if is_turned else (a, b)
    source = VectorProduct(found, machine, vectors, matrix, is_turned)
    read = matrix.beside(source.axes)
    if not read:
        return Refusal("neither columns nor depths of the matrix are neighbours in memory")
    elements = volume((*found.batch, *source.columns, *found.depth))
    if any(volume(each.tensor.shape) < elements for each in read):
        return Refusal("elements of the matrix are read several times")
    return source


def _with_constant_rows(found: Contraction, workload: Workload) -> Contraction:
    """The product, with the operand of few rows row by row if it is constant: threads that share the depth read it."""
    few = found.b if nominal(found.n) < nominal(found.m) else found.a

    def row_by_row(factor: Factor) -> list[int] | None:
        is_so = factor is not few or factor.access is None or factor.access.run(factor.depth_axes) > 1
        return None if is_so else [*range(len(factor.sizes))]

    return packed(found, workload, row_by_row)


def _with_constant_columns(found: Contraction, workload: Workload, machine: Gpu) -> Contraction:
    """The product, with a constant matrix column by column where neighbours of a row are no whole pieces of memory, and
    those of a column are: few columns of a block would share each piece with those of others."""
    matrix = found.a if nominal(found.n) < nominal(found.m) else found.b

    def column_by_column(factor: Factor) -> list[int] | None:
        if factor is not matrix or factor.access is None or factor.access.run(factor.side_axes) == 1:
            return None
        size = element_bytes(factor.access.memory)
        is_broken = nominal(product(factor.sizes[a] for a in factor.side_axes)) * size % machine.sector_bytes != 0
        is_whole = nominal(product(factor.sizes[a] for a in factor.depth_axes)) * size % machine.sector_bytes == 0
        return [*range(len(factor.sizes))] if is_broken and is_whole else None

    return packed(found, workload, column_by_column)
