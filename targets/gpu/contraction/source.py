"""What a workload with one sum of products computes, apart from how: matrix products and convolutions alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tvm import te, tirx
from tvm.ir import Expr

from dsc.lower.exprs import Dim, dims, product, same
from dsc.lower.te import lowered
from dsc.lower.workload import Workload
from dsc.targets.cpu.gemm.product import same_place, unproven_dims
from dsc.targets.cpu.inline import Leaf
from dsc.targets.gpu.elements import Elements
from dsc.targets.gpu.generic.rows import reductions
from dsc.targets.kernel import Refusal
from dsc.targets.tir.loops import function


@dataclass(frozen=True, eq=False)
class Contraction:
    """``acc[batch.., rows.., columns..] = sum over depth.. of a[batch.., rows.., depth..] * b[batch.., depth..,
    columns..]``, and its epilogue.

    Of a matrix product, rows and columns are that; of a convolution, channels of the result and its pixels, and the
    depth is channels and taps (implicit GEMM: `b` is never in memory).
    """

    params: tuple[te.Tensor, ...]
    """The inputs of the workload."""
    scalars: tuple[tirx.Var, ...]
    """Its scalars."""
    acc: te.Tensor
    """The sums, where the epilogue begins."""
    split: tuple[int, int]
    """The axes of `acc` at which rows and columns begin."""
    a: Expr
    """The operand that differs from row to row, in terms of the variables of `acc` and of its reduction."""
    b: Expr
    outputs: tuple[te.Tensor, ...]
    """Each of the shape of `acc`, and elementwise in it."""
    beside: tuple[te.Tensor, ...]
    """Inputs of which the outputs read the element at their own place."""
    assumed: tuple[tuple[Dim, Dim], ...]
    """Dims that are equal where the model is right, though nothing proves it."""

    @property
    def shape(self) -> tuple[Dim, ...]:
        """Of the sums."""
        return tuple(dims(self.acc.shape))

    @property
    def batch(self) -> tuple[Dim, ...]:
        """Leading dims: of problems of their own."""
        return self.shape[: self.split[0]]

    @property
    def rows(self) -> tuple[Dim, ...]:
        """Dims that make up a row's number."""
        return self.shape[self.split[0] : self.split[1]]

    @property
    def columns(self) -> tuple[Dim, ...]:
        """Dims that make up a column's number."""
        return self.shape[self.split[1] :]

    @property
    def depth(self) -> tuple[Dim, ...]:
        """Dims that are summed over."""
        return tuple(dims(axis.dom.extent for axis in self.acc.op.reduce_axis))

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
        return str(self.a.expr_ty()), str(self.b.expr_ty()), str(self.acc.dtype)


def contraction_of(workload: Workload, *, single_row: bool = False) -> Contraction | Refusal:
    """The contraction that `workload` is, or why it is none.

    single_row: whether it may have one row, of no axis: where only one operand differs along the last axes.
    """
    body = lowered(workload)
    sums = reductions(body.outputs)
    if len(sums) != 1:
        return Refusal(f"{len(sums)} reductions")
    (acc,) = sums
    (reduction,) = acc.op.body
    if not isinstance(reduction.combiner.result[0], tirx.Add) or not isinstance(reduction.source[0], tirx.Mul):
        return Refusal("no sum of products")
    if any(same(size, 0) for size in (*dims(acc.shape), *(axis.dom.extent for axis in acc.op.reduce_axis))):
        return Refusal("a product without elements")
    found = _split(acc, reduction.source[0].a, reduction.source[0].b)
    if isinstance(found, Refusal):
        return found
    split, a, b = found
    if split[0] == split[1] and not single_row:
        return Refusal("one operand is the same for all rows")
    epilogue = _epilogue(acc, tuple(body.inputs), tuple(body.outputs))
    if isinstance(epilogue, Refusal):
        return epilogue
    beside, assumed = epilogue
    return Contraction(
        tuple(body.inputs), workload.scalars, acc, split, a, b, tuple(body.outputs), beside, assumed
    )  # fmt: skip


def _split(acc: te.Tensor, left: Expr, right: Expr) -> tuple[tuple[int, int], Expr, Expr] | Refusal:
    """Where the axes of rows and of columns begin, and the operands that differ along them."""
    sides = [_axes(acc, left), _axes(acc, right)]
    several = [a for a, size in enumerate(dims(acc.shape)) if not same(size, 1)]
    if not several:
        return (len(acc.shape), len(acc.shape)), left, right
    if (several[-1] in sides[0]) == (several[-1] in sides[1]):
        return Refusal("the operands differ along the same axes")
    (a, rows_of), (b, columns_of) = (left, sides[0]), (right, sides[1])
    if several[-1] in rows_of:
        (a, rows_of), (b, columns_of) = (b, columns_of), (a, rows_of)
    columns = len(acc.shape)
    while several and several[-1] in columns_of and several[-1] not in rows_of:
        columns = several.pop()
    rows = columns
    while several and several[-1] in rows_of and several[-1] not in columns_of:
        rows = several.pop()
    return (rows, columns), a, b


def _axes(acc: te.Tensor, operand: Expr) -> set[int]:
    """The axes of the result along which an operand differs."""
    used = tirx.analysis.undefined_vars(operand)
    return {a for a, axis in enumerate(acc.op.axis) if any(axis.var.same_as(var) for var in used)}


Epilogue = tuple[tuple[te.Tensor, ...], tuple[tuple[Dim, Dim], ...]]


def _epilogue(acc: te.Tensor, inputs: Sequence[te.Tensor], outputs: Sequence[te.Tensor]) -> Epilogue | Refusal:
    """What is read beside the sums, and dims that must agree, once each output is known to be elementwise in them."""
    shape = tuple(dims(acc.shape))
    at = [tirx.Var(f"i{a}", str(tirx.convert(size).ty)) for a, size in enumerate(acc.shape)]
    moved: list[Sequence[Expr]] = []
    beside: list[te.Tensor] = []

    def reading(tensor: te.Tensor) -> Leaf:
        def leaf(indices: Sequence[Expr]) -> Expr:
            here = len(indices) == len(at) and same_place(indices, at, shape)
            if tensor is acc and not here:
                moved.append(indices)
            elif here and not any(tensor is known for known in (acc, *beside)) and _alike(tensor, shape):
                beside.append(tensor)
            return tirx.Var("read", str(tensor.dtype))

        return leaf

    pairs = [unproven_dims(output.shape, shape) for output in outputs]
    if any(pair is None for pair in pairs):
        return Refusal("an output is not of the shape of the product")
    with function():
        elements = Elements({tensor: reading(tensor) for tensor in (*inputs, acc)})
        for output in outputs:
            elements.at(output, at)
    if elements.problems or moved:
        return Refusal([*elements.problems, "an op after the product moves elements"][0])
    return tuple(beside), tuple(pair for found in pairs for pair in found or ())


def _alike(tensor: te.Tensor, shape: Sequence[Dim]) -> bool:
    return len(tensor.shape) == len(shape) and all(map(same, dims(tensor.shape), shape))
