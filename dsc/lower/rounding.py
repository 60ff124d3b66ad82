"""Tensors whose elements are computed in a wider type than they are stored in: bfloat16, as its 16 bits."""

from __future__ import annotations

from tvm import te, tirx
from tvm.ir import Expr
from xdsl.ir import Attribute

from dsc.lower.registry import stored_dtype, tvm_dtype
from dsc.lower.tensors import elementwise, let

_BITS = 16
"""Those that bfloat16 has less than float32: it is the upper half of one."""


def widened(tensor: te.Tensor, type_: Attribute) -> te.Tensor:
    """A stored tensor of an IR type as one to compute with."""
    return elementwise(_widened, tensor, name="widened") if _is_rounded(type_) else tensor


def narrowed(tensor: te.Tensor, type_: Attribute) -> te.Tensor:
    """A computed tensor as it is stored: rounded to the nearest, ties to even."""
    if not _is_rounded(type_):
        return tensor
    return elementwise(lambda x: let(tirx.reinterpret("uint32", x), _rounded), tensor, name="narrowed")


def _is_rounded(type_: Attribute) -> bool:
    return stored_dtype(type_) != tvm_dtype(type_)


def _widened(half: Expr) -> Expr:
    return tirx.reinterpret("float32", half.astype("uint32") << _u32(_BITS))


def _rounded(bits: Expr) -> Expr:
    """The upper half of a float32, plus one where the lower half is more than a half, or a half and the upper odd."""
    upper = bits >> _u32(_BITS)
    nearest = (bits + (_u32((1 << (_BITS - 1)) - 1) + (upper & _u32(1)))) >> _u32(_BITS)
    is_nan = (bits & _u32(0x7FFFFFFF)) > _u32(0x7F800000)
    return tirx.Select(is_nan, upper | _u32(0x40), nearest).astype("uint16")


def _u32(value: int) -> Expr:
    return tirx.const(value, "uint32")
