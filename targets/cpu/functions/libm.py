"""Functions of C's library, called for each element. TVM has some of them as intrinsics, but not on vectors."""

from __future__ import annotations

from tvm import tirx
from tvm.ir import Expr

from dsc.lower.tensors import dtype_of


def libm(name: str, *operands: Expr) -> Expr:
    """The function `name` of operands of float64; of float32, the one with the suffix f."""
    dtype = dtype_of(operands[0])
    return tirx.call_pure_extern(dtype, name if dtype == "float64" else f"{name}f", *operands)
