"""In how few bits the elements of a tensor are exact, though they are computed with as float32."""

from __future__ import annotations

from collections.abc import Sequence, Set

from tvm import te, tirx
from tvm.ir import Call, Expr

from dsc.lower.floats import is_call
from dsc.lower.rounding import upper_half
from dsc.targets.cpu.inline import is_one_of
from dsc.targets.kernel import Refusal

SINGLE, HALF, UPPER_HALF = "float32", "float16", "bfloat16"
TF32 = "tfloat32"
"""As instructions have it: a float32 of which 10 bits of the fraction are multiplied."""


def exact_type(tensor: te.Tensor, inputs: Sequence[te.Tensor]) -> str:
    """float16 or bfloat16 where every element of a float32 tensor is one of these, made wider; else the tensor's own.

    inputs: what is in memory, where the search ends.
    """
    stage = tensor.op
    if is_one_of(tensor, inputs) or not isinstance(stage, te.ComputeOp) or stage.reduce_axis:
        return str(tensor.dtype)
    return _of(stage.body[tensor.value_index], inputs)


def common_type(exact: Set[str], rounded: str | None) -> str | Refusal:
    """The type in which factors are multiplied that are exact in these types: the one to which they may be rounded, if
    there is one, else float32; or what is in the way."""
    element, narrower = (SINGLE, {HALF, UPPER_HALF}) if rounded is None else (rounded, set[str]())
    if exact <= {SINGLE, element, *narrower}:
        return element
    return Refusal(f"factors of {' and '.join(sorted(exact))}, not of {element}")


def _of(value: Expr, inputs: Sequence[te.Tensor]) -> str:
    dtype = str(value.expr_ty())
    if isinstance(value, tirx.Cast) and dtype == SINGLE and str(value.value.expr_ty()) == HALF:
        return HALF
    if isinstance(value, tirx.Select):
        return _of_choice(value.true_value, value.false_value, inputs)
    if not isinstance(value, Call):
        return dtype
    name = str(getattr(value.op, "name", ""))
    if name.endswith("if_then_else"):
        _, then, other = value.args
        return _of_choice(then, other, inputs)
    if upper_half(value) is not None:
        return UPPER_HALF
    return exact_type(value.args[0], inputs) if name == "te.tensor_load" else dtype


def _of_choice(value: Expr, other: Expr, inputs: Sequence[te.Tensor]) -> str:
    """Zero is exact in all types."""
    return _of(value, inputs) if _is_zero(other) else str(value.expr_ty())


def _is_zero(value: Expr) -> bool:
    if is_call(value, "constant"):
        return _is_zero(value.args[0])
    if isinstance(value, tirx.Cast):
        return _is_zero(value.value)
    return isinstance(value, tirx.IntImm | tirx.FloatImm) and value.value == 0
