"""Tensors whose elements are computed in another type than they are stored in: see the encodings of `dsc.elements`."""

from __future__ import annotations

from collections.abc import Callable

from tvm import te, tirx
from tvm.ir import Call, Expr
from tvm_ffi import structural_equal
from xdsl.ir import Attribute

from dsc.elements import Encoding, FloatEncoding, IntegerEncoding
from dsc.lower import minifloats
from dsc.lower.exprs import same
from dsc.lower.registry import held
from dsc.lower.tensors import cast, dtype_of, elementwise

_BITS = 16
"""Those that bfloat16 has less than float32: it is the upper half of one."""


def widened(tensor: te.Tensor, type_: Attribute) -> te.Tensor:
    """A stored tensor of an IR type as one to compute with."""
    element = held(type_)
    if element.encoding is not None:
        return elementwise(_decoder(element.encoding), tensor, name="widened")
    return cast(tensor, str(element.computed), "widened")


def narrowed(tensor: te.Tensor, type_: Attribute) -> te.Tensor:
    """A computed tensor as it is stored: floats rounded to the nearest, ties to even, integers modulo 2^bits.

    What is beyond the largest float becomes infinity, or NaN where there is none, or the largest float where there is
    neither; operators that saturate have done so before.
    """
    element = held(type_)
    if element.encoding is not None:
        return elementwise(_encoder(element.encoding), tensor, name="narrowed")
    return cast(tensor, str(element.stored), "narrowed")


def _decoder(encoding: Encoding) -> Callable[[Expr], Expr]:
    if isinstance(encoding, IntegerEncoding):
        return lambda x: _sign_extended(x, encoding.bits) if encoding.signed else x & _const(_ones(encoding), "uint8")
    return widened_bits if _is_upper_half(encoding) else lambda x: minifloats.decoded(x, encoding)


def _encoder(encoding: Encoding) -> Callable[[Expr], Expr]:
    if isinstance(encoding, IntegerEncoding):
        return lambda x: (x & _const(_ones(encoding), dtype_of(x))).astype("uint8")  # no negative number to be cast
    if _is_upper_half(encoding):
        return rounded
    return lambda x: minifloats.encoded(x, encoding)


def _is_upper_half(encoding: FloatEncoding) -> bool:
    """Whether sign and exponent are those of float32, in the same places of 16 bits."""
    return encoding.bits == _BITS and encoding.exponent == 8


def _ones(encoding: IntegerEncoding) -> int:
    return (1 << encoding.bits) - 1


def _sign_extended(x: Expr, bits: int) -> Expr:
    unused = 8 - bits
    upper = tirx.reinterpret("int8", x << _const(unused, "uint8"))
    return upper >> _const(unused, "int8")


def widened_bits(half: Expr) -> Expr:
    """The float32 of a bfloat16 in its bits."""
    return tirx.reinterpret("float32", half.astype("uint32") << _u32(_BITS))


def upper_half(value: Expr) -> Expr | None:
    """The bits of which `widened_bits` made a value; None where it is another."""
    if not isinstance(value, Call) or not str(getattr(value.op, "name", "")).endswith("reinterpret"):
        return None
    shifted = value.args[0]
    if str(value.expr_ty()) != "float32" or not isinstance(shifted, tirx.LShift) or not same(shifted.b, _BITS):
        return None
    wide = shifted.a
    return wide.value if isinstance(wide, tirx.Cast) and str(wide.value.expr_ty()) == f"uint{_BITS}" else None


def rounded(value: Expr) -> Expr:
    """The bits of the bfloat16 that is nearest to a float32, ties to even; or of a vector of them."""
    lanes = value.expr_ty().dtype.lanes
    bits = tirx.Var("bits", _vector("uint32", lanes))
    return tirx.Let(bits, tirx.reinterpret(_vector("uint32", lanes), value), _rounded(bits, lanes))


def rounded_operand(value: Expr) -> Expr | None:
    """The float32 of which `rounded` made an expression; None where it is another."""
    if not isinstance(value, tirx.Let) or not str(value.var.ty).startswith("uint32"):
        return None
    lanes = value.value.ty.dtype.lanes
    return value.value.args[0] if structural_equal(value.body, _rounded(value.var, lanes)) else None


def _rounded(bits: Expr, lanes: int) -> Expr:
    """The upper half of a float32, plus one where the lower half is more than a half, or a half and the upper odd."""

    def u32(number: int) -> Expr:
        return _u32(number) if lanes == 1 else tirx.Broadcast(_u32(number), lanes)

    upper = bits >> u32(_BITS)
    nearest = (bits + (u32((1 << (_BITS - 1)) - 1) + (upper & u32(1)))) >> u32(_BITS)
    is_nan = (bits & u32(0x7FFFFFFF)) > u32(0x7F800000)
    return tirx.Select(is_nan, upper | u32(0x40), nearest).astype(_vector("uint16", lanes))


def _vector(element: str, lanes: int) -> str:
    return element if lanes == 1 else f"{element}x{lanes}"


def _u32(value: int) -> Expr:
    return _const(value, "uint32")


def _const(value: int, dtype: str) -> Expr:
    return tirx.const(value, dtype)
