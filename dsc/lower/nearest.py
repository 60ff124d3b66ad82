"""Rounding floats to integers at once, where processors have an instruction for it.

To TVM the rounding is one operator and the conversion another, and it takes vectors apart for the first.
"""

from __future__ import annotations

import tvm_ffi
from tvm import tirx
from tvm.ir import Call, Expr
from tvm_ffi.structural import StructuralMutator

from dsc.lower.operators import call, name_of, operator

_NAME = "nearest"
_NEAREST = operator(_NAME, "the nearest int32")


def nearest(x: Expr) -> Expr:
    """The int32 nearest to a float32 that is within its range, halves to even; any number where x is NaN."""
    return call(_NEAREST, "int32", x)


def is_nearest(value: Expr) -> bool:
    """Whether `value` is such a call."""
    return name_of(value) == _NAME


def rounded_first(func: tirx.PrimFunc) -> tirx.PrimFunc:
    """`func` with a rounding and a conversion for each call: for machines whose compiler makes one of both."""

    def steps(node: Call, mutator: StructuralMutator) -> Expr:
        node = mutator.default_mutate(node)
        return tirx.nearbyint(node.args[0]).astype("int32") if is_nearest(node) else node

    return func.with_body(tvm_ffi.structural_mutate(func.body, [(Call, steps)]))
