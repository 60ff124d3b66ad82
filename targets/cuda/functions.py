"""Elementary functions by CUDA's own library, in full precision: none of its fast approximations."""

from __future__ import annotations

from functools import partial

from tvm.ir import Expr

from dsc.lower.functions import NAMES, Expansions
from dsc.lower.tensors import in_float32
from dsc.targets.cpu.functions.libm import libm


def _of(name: str, *operands: Expr) -> Expr:
    """The function of C's name and suffixes; CUDA has none of half precision for most, so those go by float32."""
    return in_float32(partial(libm, name), *operands)


FUNCTIONS: Expansions = {name: partial(_of, name) for name in NAMES}
"""Errors are those of the CUDA C++ Programming Guide, "Mathematical Functions": 2 ulp for most in float32."""
