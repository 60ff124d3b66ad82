"""What a workload with one matrix product computes, apart from how."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from tvm import te, tirx
from tvm.ir import Expr
from tvm.tirx.analysis import undefined_vars
from tvm_ffi import structural_equal
from xdsl.ir import Operation, SSAValue

from dsc.elements import BY_DTYPE_NAME
from dsc.ir import element_of, onnx
from dsc.ir.onnx import Fact, OnnxOp, has
from dsc.lower.exprs import Dim, dims, product, same
from dsc.lower.registry import operands_of
from dsc.lower.te import Lowered, lowered
from dsc.lower.tensors import broadcast_index, broadcast_shape
from dsc.lower.workload import Workload
from dsc.targets.cpu.halves import kept
from dsc.targets.cpu.inline import Inliner, Leaf, identity, is_one_of, kept_types
from dsc.targets.kernel import Refusal

FLOAT32 = ("float32", "float32", "float32")
Factor: TypeAlias = Callable[[Lowered, SSAValue], te.Tensor]
"""Gives a factor of the product, as it is in memory, of the tensors of a body."""


@dataclass(frozen=True, eq=False)
class Product:
    """``acc[batch.., rows.., n] = sum over k of a[batch.., rows.., k] * b[batch.., k, n]``, and its epilogue.

    Either `batch` is empty and `rows` are all leading dims of `a`, which share one `b`; or `rows` is one dim,
    and the leading dims of `a` and `b` are broadcast to `batch`.
    """

    params: tuple[te.Tensor, ...]
    """The inputs of the workload."""
    scalars: tuple[tirx.Var, ...]
    """Its scalars."""
    a: te.Tensor
    b: te.Tensor
    weight: int | None
    """The input that is `b`, or `b` transposed, if that is constant."""
    packed: str
    """The type that elements of it are packed in: that of the instruction, or the narrower one that it is kept in."""
    transposed_weight: bool
    batch: tuple[Dim, ...]
    rows: tuple[Dim, ...]
    k: Dim
    n: Dim
    acc: te.Tensor
    """The product, of shape ``(*batch, *rows, n)``: where the epilogue begins."""
    operands: tuple[str, str, str]
    """Types of `a`, `b` and `acc`, as an instruction has them."""
    sums: te.Tensor | None
    """Placeholder for the sums of `b` over k, where the outputs need them: packing the weight gives them too."""
    outputs: tuple[te.Tensor, ...]
    """Each of the shape of `acc`, and elementwise in it."""
    assumed: tuple[tuple[Dim, Dim], ...]
    """Dims that are equal where the model is right, though nothing proves it."""
    kept: tuple[str, ...]
    """Types of the values between the product and the outputs that a kernel keeps; none where it must not."""

    @property
    def shape(self) -> tuple[Dim, ...]:
        """The shape of the product."""
        return (*self.batch, *self.rows, self.n)

    @property
    def m(self) -> Dim:
        """Rows in all, for each of the batch."""
        return product(self.rows)

    @property
    def widens(self) -> bool:
        """Whether a weight is in memory in a narrower type than it is multiplied in."""
        return self.weight is not None and self.packed != self.operands[1]

    @property
    def widens_panels(self) -> bool:
        """Whether a task widens a panel of the weight before it multiplies by it: half precision, where bytes are
        widened as they are loaded."""
        return self.widens and self.operands == FLOAT32

    @property
    def plain_a(self) -> bool:
        """Whether `a` is in memory, with its rows in order, for each of the batch."""
        shape = (*self.batch, *self.rows, self.k)
        return is_one_of(self.a, self.params) and len(self.a.shape) == len(shape) and same_dims(self.a.shape, shape)


def product_of(
    workload: Workload, operands: tuple[str, str, str] = FLOAT32, factor: Factor = Lowered.tensor
) -> Product | Refusal:
    """The product that `workload` is, or why it is none.

    operands: types of the factors and the sums, as an instruction has them; `factor` gives the factors in theirs.
    """
    anchors = [op for op in workload.body if isinstance(op, OnnxOp) and has(op, Fact.PRODUCT)]
    if len(anchors) != 1:
        return Refusal(f"{len(anchors)} matrix products in the body")
    anchor = anchors[0]
    body = lowered(workload)
    first, second, *_ = operands_of(anchor)
    assert first is not None
    assert second is not None
    a, b = factor(body, first), factor(body, second)
    if len(a.shape) < 2 or len(b.shape) < 2:
        return Refusal("a vector operand")
    if [str(t.dtype) for t in (a, b)] != [in_memory(element) for element in operands[:2]]:
        return Refusal(f"element type {a.dtype}")
    swap_a, swap_b = (anchor.name == "onnx.Gemm" and bool(anchor.attr(t, 0)) for t in ("transA", "transB"))
    a, stored_b, b = _swapped(a) if swap_a else a, b, _swapped(b) if swap_b else b
    batch, rows = leading(a, b)
    k, n = dims(b.shape[-2:])
    if any(isinstance(size, int) and size == 0 for size in (*batch, *rows, k, n)):
        return Refusal("a product without elements")
    in_half = operands == FLOAT32 and kept(second) is not second
    forms = (stored_b, body.tensor(second), *([body.tensor(kept(second))] if in_half else []))
    acc, weight = body.summed(anchor.results[0]), constant_input(workload, body.inputs, *forms)
    packed = element_of(kept(second).type).dtype.name if in_half else operands[1]
    found = Product(
        tuple(body.inputs), workload.scalars, a, b, weight, packed, swap_b, batch, rows, k, n, acc, operands, None,
        tuple(body.outputs), (), (),
    )  # fmt: skip
    return checked(found)


def dequantizes_groups(op: Operation) -> bool:
    """Whether an op makes floats of integers that have a scale for each group along an axis."""
    return isinstance(op, onnx.DequantizeLinear) and bool(op.attr("block_size", 0))


def in_memory(element: str) -> str:
    """The type under which memory holds elements of an instruction's type: TVM has none of bfloat16."""
    return BY_DTYPE_NAME[element].stored or element


def constant_input(workload: Workload, params: Sequence[te.Tensor], *tensors: te.Tensor) -> int | None:
    """The constant input that one of `tensors` is, if any is: a weight as it is in memory, or before it is rounded."""
    constants = (i for i, operand in enumerate(workload.operands) if operand.constant)
    wanted = [identity(tensor) for tensor in tensors]
    return next((i for i in constants if identity(params[i]) in wanted), None)


def _swapped(matrix: te.Tensor) -> te.Tensor:
    rows, columns = matrix.shape
    return te.compute((columns, rows), lambda i, j: matrix[j, i], name="transposed")


def leading(a: te.Tensor, b: te.Tensor) -> tuple[tuple[Dim, ...], tuple[Dim, ...]]:
    """Batch dims and row dims."""
    left, right = dims(a.shape), dims(b.shape)
    if all(d == 1 for d in right[:-2]) and len(right) <= len(left):
        return (), tuple(left[:-1])
    return tuple(broadcast_shape(left[:-2], right[:-2])), (left[-2],)


def batch_at(shape: Sequence[Dim], batch: Sequence[Dim], at: Sequence[Expr]) -> list[Dim]:
    """Where an operand whose leading dims are `shape` is read for the element `at` of the batch."""
    return broadcast_index(shape, batch, at) if batch else [0] * len(shape)


def same_dims(left: Sequence[Dim], right: Sequence[Dim]) -> bool:
    """Whether two shapes of one rank are provably equal."""
    return all(same(x, y) for x, y in zip(dims(left), dims(right), strict=True))


def checked(found: Product) -> Product | Refusal:
    """`found`, once each output is known to be elementwise in the product."""
    at = [tirx.Var(f"i{axis}", str(tirx.convert(d).ty)) for axis, d in enumerate(found.acc.shape)]
    moved: list[str] = []

    def acc(indices: Sequence[Expr]) -> Expr:
        if not same_place(indices, at, found.shape):
            moved.append("an op after the product moves elements")
        return tirx.const(0, str(found.acc.dtype))

    given = [*found.params, *([] if found.sums is None else [found.sums])]
    leaves: dict[te.Tensor, Leaf] = {tensor: zero(tensor) for tensor in given}
    leaves[found.acc] = acc
    assumed: list[tuple[Dim, Dim]] = []
    for output in found.outputs:
        unproven = unproven_dims(output.shape, found.shape)
        if unproven is None:
            return Refusal("an output is not of the shape of the product")
        assumed += unproven
    kept, problems = kept_types(found.outputs, at, leaves)
    if problems or moved:
        return Refusal([*problems, *moved][0])
    weight = found.weight if _only_multiplied(found) else None
    if weight is None and found.sums is not None:
        return Refusal("a weight whose sums are packed is read by more than the product")
    return replace(found, assumed=tuple(assumed), kept=kept, weight=weight)


def _only_multiplied(found: Product) -> bool:
    """Whether nothing but the product reads the weight, so that it may be given in panels."""
    read = False

    def leaf(tensor: te.Tensor) -> Leaf:
        def load(_: Sequence[Expr]) -> Expr:
            nonlocal read
            read |= found.weight is not None and tensor is found.params[found.weight]
            return tirx.const(0, str(tensor.dtype))

        return load

    made = [found.acc] if found.sums is None else [found.acc, found.sums]
    probe = Inliner({tensor: leaf(tensor) for tensor in (*found.params, *made)})
    for tensor in (found.a, *found.outputs):
        probe.at(tensor, [tirx.const(0, str(tirx.convert(d).ty)) for d in tensor.shape])
    return not read


def reads_rows(found: Product) -> bool:
    """Whether outputs are made of more than a sum and what belongs to its column."""
    *rows, n = [tirx.Var(f"i{axis}", str(tirx.convert(d).ty)) for axis, d in enumerate(found.acc.shape)]
    read: list[tirx.Var] = []

    def leaf(tensor: te.Tensor) -> Leaf:
        def load(indices: Sequence[Expr]) -> Expr:
            read.extend(variable for index in indices for variable in undefined_vars(index))
            return tirx.const(0, str(tensor.dtype))

        return load

    given = [*found.params, *([] if found.sums is None else [found.sums])]
    probe = Inliner({**{tensor: leaf(tensor) for tensor in given}, found.acc: zero(found.acc)})
    for output in found.outputs:
        read += undefined_vars(probe.at(output, [*rows, n]))
    return any(variable.same_as(row) for variable in read for row in rows)


def unproven_dims(left: Sequence[Dim], right: Sequence[Dim]) -> list[tuple[Dim, Dim]] | None:
    """The pairs of dims that must agree at run time for the shapes to be equal; None if they cannot be."""
    if len(left) != len(right):
        return None
    pairs = [(x, y) for x, y in zip(dims(left), dims(right), strict=True) if not same(x, y)]
    return None if any(isinstance(x, int) and isinstance(y, int) for x, y in pairs) else pairs


def same_place(indices: Sequence[Expr], at: Sequence[Expr], shape: Sequence[Dim]) -> bool:
    """Whether both are one element of a tensor of that shape.

    The index along a dim of 1 does not matter, and limiting an index to its dim (as broadcasting of symbolic
    dims does) changes nothing.
    """

    def same_index(index: Expr, wanted: Expr, size: Dim) -> bool:
        if isinstance(index, tirx.Min) and same(index.b + 1, size):
            index = index.a
        return (isinstance(size, int) and size == 1) or structural_equal(index, wanted)

    return all(same_index(*each) for each in zip(indices, at, shape, strict=True))


def zero(tensor: te.Tensor) -> Leaf:
    """Stands for the elements of `tensor` where only places matter."""
    return lambda _: tirx.const(0, str(tensor.dtype))
