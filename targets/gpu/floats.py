"""Floating point as GPUs' languages have it, where that differs from what dsc means."""

from __future__ import annotations

import math
import struct

import tvm_ffi
from tvm import tirx
from tvm.ir import Call, Expr
from tvm_ffi.structural import StructuralMutator

WITHOUT_HALVES = ("nearbyint", "round", "floor", "ceil", "trunc", "fabs", "sqrt", "rsqrt")
"""Of TVM's functions, those that take half precision on CPUs only, or round it twice."""


def extremes_as_choices(func: tirx.PrimFunc) -> tirx.PrimFunc:
    """``a > b ? a : b`` for the larger of two floats: C's fmax gives the other where one is NaN, and dsc's node its
    second operand, as comparisons do."""

    def largest(node: tirx.Max, mutator: StructuralMutator) -> Expr:
        a, b = mutator.mutate(node.a), mutator.mutate(node.b)
        return tirx.Select(tirx.GT(a, b), a, b) if _is_float(a) else tirx.Max(a, b)

    def smallest(node: tirx.Min, mutator: StructuralMutator) -> Expr:
        a, b = mutator.mutate(node.a), mutator.mutate(node.b)
        return tirx.Select(tirx.LT(a, b), a, b) if _is_float(a) else tirx.Min(a, b)

    return func.with_body(tvm_ffi.structural_mutate(func.body, [(tirx.Max, largest), (tirx.Min, smallest)]))


def halves_in_float32(func: tirx.PrimFunc) -> tirx.PrimFunc:
    """Rounding and roots of half precision by way of float32, in which they are exact or correctly rounded."""

    def wide(node: Call, mutator: StructuralMutator) -> Expr:
        name = str(getattr(node.op, "name", "")).rpartition(".")[2]
        dtype = str(node.ty)
        if name not in WITHOUT_HALVES or dtype != "float16":
            return mutator.default_mutate(node)
        operand = tirx.Cast("float32", mutator.mutate(node.args[0]))
        return tirx.Cast("float16", Call(node.op, [operand], ret_ty="float32"))

    return func.with_body(tvm_ffi.structural_mutate(func.body, [(Call, wide)]))


def doubles_in_bits(func: tirx.PrimFunc) -> tirx.PrimFunc:
    """float64 numbers by their bits, where TVM's text of them, which has 15 digits behind the point, is another number:
    of 2^-127 it would be 0."""

    def exact(node: tirx.FloatImm, _: StructuralMutator) -> Expr:
        value = float(node.value)
        if str(node.ty) != "float64" or not math.isfinite(value) or float(f"{value:.15f}") == value:
            return node
        (bits,) = struct.unpack("<q", struct.pack("<d", value))
        return tirx.call_pure_extern("float64", "__longlong_as_double", tirx.const(bits, "int64"))

    return func.with_body(tvm_ffi.structural_mutate(func.body, [(tirx.FloatImm, exact)]))


def _is_float(value: Expr) -> bool:
    return "float" in str(value.expr_ty())
