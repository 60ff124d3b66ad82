"""Which operators may compute in float32 what the model has in half precision."""

from __future__ import annotations

from collections.abc import Callable

from xdsl.dialects.builtin import BFloat16Type, Float16Type, TensorType
from xdsl.ir import Operation, SSAValue

from dsc.ir import OnnxOp
from dsc.passes.type_variables import allowed, typed

_STEPS = frozenset("CastLike Ceil Floor Hardmax Mod Round Shrink Sign ThresholdedRelu".split())
"""Operators of floats, giving floats, whose results jump: a rounding less decides which side of a step is taken.
(CastLike is one that rounds: what it converts to is said by an operand that it does not compute with.)"""

_FLOAT32 = "tensor(float)"


def is_half_tensor(value: SSAValue) -> bool:
    """Whether a value is a tensor of float16 or bfloat16, of known rank."""
    type_ = value.type
    return isinstance(type_, TensorType) and isinstance(type_.element_type, Float16Type | BFloat16Type)


def may_widen(op: Operation, is_half: Callable[[SSAValue], bool]) -> bool:
    """Whether `op` means the same with float32 in place of half precision, but for roundings.

    `is_half`: whether a value is a tensor of half precision in the model.

    It does where all results have the type of operands in half precision. Otherwise the op looks at what a rounding
    makes of its operands (comparisons, ArgMax, IsInf, BitCast, the indices that TopK and MaxPool give), or an attribute
    says what it gives (Cast), which then is what is asked for.
    """
    if not isinstance(op, OnnxOp) or op.regions or op.onnx_name in _STEPS or not op.results:
        return False
    variables = {variable for value, variable in typed(op) if value in op.operands and is_half(value)}
    tied = [value for value, variable in typed(op) if variable in variables]
    return (
        all(result in tied for result in op.results)
        and all(map(is_half, tied))
        and all(_FLOAT32 in allowed(op, variable) for variable in variables)
    )
