"""Registers of other threads of the wavefront: TVM has no code for `tvm_warp_shuffle_xor` here, nor for other widths
than 32 bits."""

from __future__ import annotations

import tvm_ffi
from tvm import tirx
from tvm.ir import Call, Expr
from tvm_ffi.structural import StructuralMutator

_WORD = "int32"
_WORD_BITS = 32


def exchanges(func: tirx.PrimFunc) -> tirx.PrimFunc:
    """``ds_bpermute`` for exchanges between threads whose indices differ in some bits."""

    def exchanged(node: Call, mutator: StructuralMutator) -> Expr:
        if str(getattr(node.op, "name", "")) != "tirx.tvm_warp_shuffle_xor":
            return mutator.default_mutate(node)
        _mask, value, bits, *_widths = node.args
        other = tirx.bitwise_xor(_lane(), bits)
        return _from(other, mutator.mutate(value))

    return func.with_body(tvm_ffi.structural_mutate(func.body, [(Call, exchanged)]))


def _lane() -> Expr:
    """The index of this thread in its wavefront: how many before it there are."""
    everyone = tirx.const(-1, _WORD)
    low = tirx.call_llvm_pure_intrin(_WORD, "llvm.amdgcn.mbcnt.lo", everyone, tirx.const(0, _WORD))
    return tirx.call_llvm_pure_intrin(_WORD, "llvm.amdgcn.mbcnt.hi", everyone, low)


def _from(lane: Expr, value: Expr) -> Expr:
    """What that thread has for `value`, of any type, in words of 32 bits."""
    dtype = str(value.expr_ty())
    bits = int(dtype.lstrip("abcdefghijklmnopqrstuvwxyz"))
    whole = tirx.reinterpret(f"int{bits}", value)
    if bits <= _WORD_BITS:
        return tirx.reinterpret(dtype, tirx.Cast(f"int{bits}", _word(lane, tirx.Cast(_WORD, whole))))
    low = _word(lane, tirx.Cast(_WORD, whole))
    high = _word(lane, tirx.Cast(_WORD, tirx.shift_right(whole, tirx.const(_WORD_BITS, "int64"))))
    above = tirx.shift_left(tirx.Cast("int64", high), tirx.const(_WORD_BITS, "int64"))
    below = tirx.Cast("int64", tirx.reinterpret("uint32", low))
    return tirx.reinterpret(dtype, tirx.bitwise_or(above, below))


def _word(lane: Expr, value: Expr) -> Expr:
    """The 32 bits of that thread; it is told by where its registers would lie in memory."""
    place = tirx.shift_left(lane, tirx.const(2, _WORD))
    return tirx.call_llvm_pure_intrin(_WORD, "llvm.amdgcn.ds.bpermute", place, value)
