"""Factors that are kept in half precision, as kernels multiply them: in float32, or in bfloat16."""

from __future__ import annotations

from tvm import tirx
from tvm.ir import Expr
from xdsl.dialects.builtin import BFloat16Type, Float16Type, TensorType
from xdsl.ir import SSAValue

from dsc.ir import element_of, onnx
from dsc.targets.cpu.tile import reinterpreted
from dsc.targets.tir.loops import spread

_UPPER = 16
"""A bfloat16 is so many upper bits of a float32."""


def kept(factor: SSAValue) -> SSAValue:
    """What is in memory of a factor in float32: what a Cast widens from half precision, else the factor itself."""
    owner = factor.owner
    if not isinstance(owner, onnx.Cast) or str(element_of(owner.out.type).dtype) != "float32":
        return factor
    type_ = owner.input.type
    is_half = isinstance(type_, TensorType) and isinstance(type_.element_type, Float16Type | BFloat16Type)
    return owner.input if is_half else factor


def widened(value: Expr) -> Expr:
    """A vector of float16, or of bfloat16 in its bits, in float32; exactly."""
    lanes = value.ty.dtype.lanes
    suffix = "" if lanes == 1 else f"x{lanes}"
    if str(value.ty).startswith("float16"):
        return value.astype(f"float32{suffix}")
    bits = value.astype(f"uint32{suffix}") << spread(tirx.const(_UPPER, "uint32"), lanes)
    return reinterpreted(bits, f"float32{suffix}")
