"""What a workload with one sum of products computes, apart from how: matrix products and convolutions alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from tvm import te, tirx
from tvm.ir import Expr

from dsc.lower.exprs import Dim, dims, product, same
from dsc.lower.stages import element_bytes
from dsc.lower.te import lowered
from dsc.lower.workload import Workload, once
from dsc.targets.cpu.inline import is_one_of
from dsc.targets.gpu.access import Access, replaced
from dsc.targets.gpu.axes import Axis, Parts, in_parts, limits, several, split
from dsc.targets.gpu.contraction.factors import Factor, Term, by_memory
from dsc.targets.gpu.contraction.results import Reading, reading
from dsc.targets.gpu.generic.rows import reductions
from dsc.targets.gpu.neighbours import Read, distinct, placed
from dsc.targets.kernel import Packing, Refusal


@dataclass(frozen=True, eq=False)
class Contraction:
    """``sums[batch.., rows.., columns..] = sum over depth.. of a[batch.., rows.., depth..] * b[batch.., columns..,
    depth..]``, and its epilogue.

    Batch, rows and columns are axes of the result, wherever these lie in memory: those that both factors differ along,
    only `a`, and only `b`. Neighbours along the last of the columns are neighbours in the result. So of a convolution
    of packed images rows are its pixels and columns the channels of its result, of one of plain images it is the other
    way round; its groups are batch. The depth is in the order in which the factor that is computed lies in memory: of
    packed images, blocks of channels, taps, channels of a block (implicit GEMM: `a` is never in memory). Axes of one
    element are left out.

    An element of a factor is ``Elements(leaves).at(source.a.tensor, [*batch, *rows, *depth])``, with an index for each
    axis; where it is a load, `source.a.access` tells of what. An element of a result is ``Elements(leaves).at(output,
    source.place([*batch, *rows, *columns]))``, with `acc` among the leaves for the sum, and belongs into memory at
    ``source.stored.position([*batch, *rows, *columns])``.
    """

    params: tuple[te.Tensor, ...]
    """What the function takes: the inputs of the workload, constants as `packings` arrange them."""
    packings: Mapping[int, Packing]
    """By input."""
    scalars: tuple[tirx.Var, ...]
    """Its scalars."""
    acc: te.Tensor
    """The sums, where the epilogue begins."""
    a: Factor
    b: Factor
    batch: tuple[Dim, ...]
    """Sizes of the axes that number problems of their own."""
    rows: tuple[Dim, ...]
    """Sizes of the axes that make up a row's number, the last one varying fastest."""
    columns: tuple[Dim, ...]
    """Sizes of the axes that make up a column's number."""
    depth: tuple[Dim, ...]
    """Sizes of the axes that are summed over."""
    outputs: tuple[te.Tensor, ...]
    """All of one shape, with one sum for each element."""
    indices: tuple[Expr, ...]
    """Those of an element of the outputs, in terms of `stored.variables`."""
    stored: Access
    """Where the elements of the outputs lie, by their indices along batch, rows and columns."""
    beside: tuple[Read, ...]
    """What the outputs read of the inputs."""
    assumed: tuple[tuple[Dim, Dim], ...]
    """Dims that are equal where the model is right, though nothing proves it."""

    @property
    def m(self) -> Dim:
        """Rows."""
        return product(self.rows)

    @property
    def n(self) -> Dim:
        """Columns."""
        return product(self.columns)

    @property
    def k(self) -> Dim:
        """Products in a sum."""
        return product(self.depth)

    @property
    def operands(self) -> tuple[str, str, str]:
        """Types of what is multiplied, and of the sums: as an instruction has them."""
        return str(self.a.tensor.dtype), str(self.b.tensor.dtype), str(self.acc.dtype)

    @property
    def column_axes(self) -> range:
        """Which of the indices along batch, rows and columns are the columns'."""
        before = len(self.batch) + len(self.rows)
        return range(before, before + len(self.columns))

    @cached_property
    def piece(self) -> int | None:
        """Columns that lie side by side, where the same columns of the next row come after them, as channels of packed
        images do; None where something else does."""
        run, last = self.stored.run(self.column_axes), len(self.batch) + len(self.rows) - 1
        return run if self.rows and same(self.stored.steps[last], run) else None

    def is_broken(self, columns: int, sector_bytes: int) -> bool:
        """Whether so many columns are several of these, or one, that are no whole pieces of memory each: the next rows
        have the rest."""
        if self.piece is None or columns % self.piece:
            return False
        return self.piece * max(element_bytes(output) for output in self.outputs) % sector_bytes != 0

    def place(self, at: Sequence[Expr]) -> list[Expr]:
        """The indices of an element of the outputs, by those along batch, rows and columns."""
        return [replaced(index, self.stored.variables, at) for index in self.indices]


@once
def contraction_of(workload: Workload) -> Contraction | Refusal:
    """The contraction that `workload` is, or why it is none. It has rows, and columns."""
    found = product_of(workload)
    if isinstance(found, Contraction) and not (found.rows and found.columns):
        return Refusal("one operand is the same for all rows")
    return found


@once
def product_of(workload: Workload) -> Contraction | Refusal:
    """The same; it may have a row that has no axis, or a row and a column."""
    body = lowered(workload)
    acc = _sums(body.outputs)
    if isinstance(acc, Refusal):
        return acc
    read = reading(acc, body.inputs, body.outputs)
    if isinstance(read, Refusal):
        return read
    left, right = _terms(acc, read, body.inputs)
    parts = split(left.axes, [*map(limits(left.axes).simplify, read.sums), *left.indices(), *right.indices()])
    results, summed = parts[: len(read.axes)], parts[len(read.axes) :]
    if not _is_permutation(acc, read, results):
        return Refusal("an op after the product moves elements")
    indices = tuple(each.index for each in results)
    axes = several(results)
    stored = placed(body.outputs[0], read.sizes, indices, axes)
    assert stored is not None  # its indices are sums of those of the axes
    sides = _Sides.of(left.within(parts), right.within(parts), stored, axes)
    if isinstance(sides, Refusal):
        return sides
    constants = [tensor for tensor, operand in zip(body.inputs, workload.operands, strict=True) if operand.constant]
    a, b, depth = sides.factors(several(summed) or list(summed[0].axes[:1]), constants)
    axes = [*sides.batch, *sides.rows, *sides.columns]
    stored = placed(body.outputs[0], read.sizes, indices, axes)
    assert stored is not None
    beside = [(tensor, in_parts(at, results)) for tensor, at in read.inputs]
    return Contraction(
        tuple(body.inputs), {}, workload.scalars, acc, a, b, _sizes(sides.batch), _sizes(sides.rows),
        _sizes(sides.columns), _sizes(depth), tuple(body.outputs), indices, stored,
        tuple(distinct([Read.of(tensor, at, axes) for tensor, at in beside])), read.assumed,
    )  # fmt: skip


def _sums(outputs: Sequence[te.Tensor]) -> te.Tensor | Refusal:
    """The one stage that sums products up."""
    sums = reductions(outputs)
    if len(sums) != 1:
        return Refusal(f"{len(sums)} reductions")
    (acc,) = sums
    (reduction,) = acc.op.body
    if not isinstance(reduction.combiner.result[0], tirx.Add) or not isinstance(reduction.source[0], tirx.Mul):
        return Refusal("no sum of products")
    if any(same(size, 0) for size in (*dims(acc.shape), *(axis.dom.extent for axis in acc.op.reduce_axis))):
        return Refusal("a product without elements")
    return acc


def _terms(acc: te.Tensor, read: Reading, inputs: Sequence[te.Tensor]) -> tuple[Term, Term]:
    """The factors, by the axes of the results and of the depth."""
    (reduction,) = acc.op.body
    depth = [Axis(axis.var, *dims([axis.dom.extent])) for axis in acc.op.reduce_axis]
    places = dict(zip((axis.var for axis in acc.op.axis), read.sums, strict=True))
    places |= {axis.var: axis.var for axis in depth}
    axes = (*read.axes, *depth)
    left, right = reduction.source[0].a, reduction.source[0].b
    return Term(left, places, axes, tuple(inputs)), Term(right, places, axes, tuple(inputs))


def _is_permutation(acc: te.Tensor, read: Reading, results: Sequence[Parts]) -> bool:
    """Whether each sum is that of one element of the results: axes that stay are left out, as their sizes may not be
    known."""
    if read.in_place:
        return True
    kept = [
        parts
        for index, size in zip(read.sums, dims(acc.shape), strict=True)
        for parts in results
        if parts.whole.same_as(index) and len(parts.axes) == 1 and same(parts.axes[0].size, size)
    ]
    left = [parts for parts in results if not any(parts is other for other in kept)]
    pairs = [
        (index, size)
        for index, size in zip(in_parts(read.sums, results), dims(acc.shape), strict=True)
        if not any(parts.index.same_as(index) for parts in kept)
    ]
    axes, shape = several(left), [size for _, size in pairs]
    memory = te.placeholder(shape, str(acc.dtype), name="sums")
    line = placed(memory, shape, [index for index, _ in pairs], axes)
    return line is not None and line.is_all()


def _sizes(axes: Sequence[Axis]) -> tuple[Dim, ...]:
    return tuple(axis.size for axis in axes)


@dataclass(frozen=True, eq=False)
class _Sides:
    """The factors, the right one of which differs along neighbours in the result, and the axes of the result."""

    a: Term
    b: Term
    batch: list[Axis]
    rows: list[Axis]
    columns: list[Axis]

    @staticmethod
    def of(left: Term, right: Term, stored: Access, axes: Sequence[Axis]) -> _Sides | Refusal:
        """The sides of a product whose results lie as `stored` says, by their indices along `axes`."""
        along_left, along_right = left.differs(), right.differs()
        if any(axis not in along_left and axis not in along_right for axis in axes):
            return Refusal("an axis of the result along which nothing differs")
        neighbours = [axis for axis, step in zip(axes, stored.steps, strict=True) if same(step, 1)] or list(axes[-1:])
        if not neighbours:
            return _Sides(left, right, [], [], [])
        if (neighbours[0] in along_left) == (neighbours[0] in along_right):
            return Refusal("the operands differ along the same axes")
        if neighbours[0] in along_left:
            (left, along_left), (right, along_right) = (right, along_right), (left, along_left)
        batch = [axis for axis in axes if axis in along_left and axis in along_right]
        rows = [axis for axis in axes if axis not in along_right]
        columns = [axis for axis in axes if axis not in along_left]
        return _Sides(left, right, batch, rows, columns)

    def factors(self, depth: Sequence[Axis], constants: Sequence[te.Tensor]) -> tuple[Factor, Factor, list[Axis]]:
        """Both, and the axes of the depth in the order in which the one that is no constant lies in memory."""
        a = self.a.factor(self.batch, self.rows, depth)
        fixed = a.access is not None and is_one_of(a.access.memory, constants)
        ordered = by_memory(self.b.factor(self.batch, self.columns, depth) if fixed else a, depth)
        a, b = self.a.factor(self.batch, self.rows, ordered), self.b.factor(self.batch, self.columns, ordered)
        return a, b, ordered
