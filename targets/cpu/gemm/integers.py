"""Integer products, in the forms that instructions have them: `Product` again, of other operands.

A product of bytes with zero points is ``sum over k of (a - za) (b - zb)`` in int32 (ONNX, MatMulInteger).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tvm import te, tirx
from tvm.ir import Expr

from dsc.ir.onnx import OnnxOp
from dsc.lower.exprs import dims
from dsc.lower.registry import operands_of
from dsc.lower.te import lower_body, lowered
from dsc.lower.workload import Workload
from dsc.targets.cpu.gemm.product import Product, checked, constant_input, leading
from dsc.targets.kernel import Refusal

INTEGER_PRODUCTS = ("onnx.MatMulInteger",)
WORDS = ("int16", "int16", "int32")
SIGN = 128
"""What makes a signed byte an unsigned one, and back."""

Place = Callable[[Sequence[Expr], te.Tensor], list[Expr | int]]
"""Where the zero point of an element is."""


def integer_products(workload: Workload, keeps_bytes: bool = False) -> tuple[Product, ...] | Refusal:
    """The forms of the product of bytes that `workload` is, the one with the faster instruction first.

    keeps_bytes: whether a weight that is multiplied in 16 bits is packed as bytes.
    """
    anchors = [op for op in workload.body if isinstance(op, OnnxOp) and op.name in INTEGER_PRODUCTS]
    if len(anchors) != 1:
        return Refusal(f"{len(anchors)} integer products in the body")
    body, result = lowered(workload), anchors[0].results[0]
    tensors = {i: body.tensor(value) for i, value in enumerate(operands_of(anchors[0])) if value is not None}
    a, b, a_zero, b_zero = tensors[0], tensors[1], tensors.get(2), tensors.get(3)
    if len(a.shape) < 2 or len(b.shape) < 2:
        return Refusal("a vector operand")
    batch, rows = leading(a, b)
    k, n = dims(b.shape[-2:])
    if any(isinstance(size, int) and size == 0 for size in (*batch, *rows, k, n)):
        return Refusal("a product without elements")
    acc = body.summed(result)
    # packed when the artifact is written, `b` is without a zero point that only a run gives
    weight = constant_input(workload, body.inputs, b) if b_zero is None else None
    packed = str(b.dtype) if keeps_bytes and weight is not None else WORDS[1]
    forms = [_Form(WORDS, _shifted(a, a_zero, _row), _shifted(b, b_zero, _column), body.outputs, packed)]
    if weight is not None and len(b.shape) == 2:
        sums = te.placeholder((n,), "int32", name="sums")
        bound = dict(zip(workload.inputs, body.inputs, strict=True))

        def of_bytes(dtype: str) -> _Form:
            corrected = _corrected(acc, a, dtype, a_zero, sums)
            outputs = lower_body(workload, {**bound, result: corrected})
            return _Form((dtype, str(b.dtype), "int32"), _of_sign(a, dtype), b, outputs, str(b.dtype), sums)

        # bytes as they are first: others take an operation each
        forms = [*map(of_bytes, sorted(("int8", "uint8"), key=lambda dtype: dtype != str(a.dtype))), *forms]
    found = [
        checked(Product(
            tuple(body.inputs), workload.scalars, form.a, form.b, weight, form.packed, False, batch, rows, k, n,
            acc, form.operands, form.sums, tuple(form.outputs), (), (),
        ))
        for form in forms
    ]  # fmt: skip
    possible = tuple(form for form in found if not isinstance(form, Refusal))
    return possible or next(form for form in found if isinstance(form, Refusal))


@dataclass(frozen=True, eq=False)
class _Form:
    """The product as an instruction has it."""

    operands: tuple[str, str, str]
    a: te.Tensor
    b: te.Tensor
    outputs: Sequence[te.Tensor]
    """In terms of ``sum over k of a b``."""
    packed: str
    """The type that a weight is packed in."""
    sums: te.Tensor | None = None
    """Of the columns of b, where the result needs them."""


def _shifted(x: te.Tensor, zero: te.Tensor | None, place: Place) -> te.Tensor:
    """Elements less their zero point, in 16 bits."""

    def element(*i: Expr) -> Expr:
        value = x(*i).astype("int16")
        return value if zero is None else value - zero(*place(i, zero)).astype("int16")

    return te.compute(x.shape, element, name="shifted")


def _of_sign(a: te.Tensor, dtype: str) -> te.Tensor:
    """The bytes as signed or unsigned ones: 128 less of unsigned, 128 more of signed ones."""
    if str(a.dtype) == dtype:
        return a
    sign = tirx.const(-SIGN, "int8")
    return te.compute(
        a.shape, lambda *i: tirx.bitwise_xor(a(*i).astype("int8"), sign).astype(dtype), name="of_sign"
    )  # fmt: skip


def _corrected(acc: te.Tensor, a: te.Tensor, dtype: str, zero: te.Tensor | None, sums: te.Tensor) -> te.Tensor:
    """``sum of a' b`` less ``za' * sum of b``, where a' and its zero point za' are of type `dtype`."""
    shift = {("int8", "uint8"): SIGN, ("uint8", "int8"): -SIGN}.get((str(a.dtype), dtype), 0)
    if zero is None and not shift:
        return acc

    def element(*i: Expr) -> Expr:
        origin = tirx.const(shift, "int32")
        if zero is not None:
            origin = zero(*_row(i, zero)).astype("int32") + origin
        return acc(*i) - origin * sums(i[-1])

    return te.compute(acc.shape, element, name="corrected")


def _row(at: Sequence[Expr], zero: te.Tensor) -> list[Expr | int]:
    """One for all, or one for each row."""
    if all(isinstance(d, int) and d == 1 for d in dims(zero.shape)):
        return [0] * len(zero.shape)
    return [at[-2]] if len(zero.shape) == 1 else [*at[:-1], 0]


def _column(at: Sequence[Expr], zero: te.Tensor) -> list[Expr | int]:
    """One for all, or one for each column."""
    if all(isinstance(d, int) and d == 1 for d in dims(zero.shape)):
        return [0] * len(zero.shape)
    return [at[-1]] if len(zero.shape) == 1 else [*at[:-2], 0, at[-1]]
