"""Rounding floats to integers by the instructions that do both (`vcvtps2dq`)."""

from __future__ import annotations

import tvm_ffi
from tvm import tirx
from tvm.ir import Call, Expr
from tvm_ffi.structural import StructuralMutator

from dsc.lower.nearest import is_nearest


def nearest_conversions(func: tirx.PrimFunc) -> tirx.PrimFunc:
    """LLVM's `lrint` for each call of `nearest`, on scalars and vectors. It rounds as the mode says: halves to even."""

    def conversion(node: Call, mutator: StructuralMutator) -> Expr:
        node = mutator.default_mutate(node)
        if not is_nearest(node):
            return node
        lanes = node.ty.dtype.lanes
        suffix = "i32.f32" if lanes == 1 else f"v{lanes}i32.v{lanes}f32"
        return tirx.call_llvm_pure_intrin(str(node.ty), f"llvm.lrint.{suffix}", *node.args)

    return func.with_body(tvm_ffi.structural_mutate(func.body, [(Call, conversion)]))
