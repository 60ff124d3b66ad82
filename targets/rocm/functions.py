"""How AMD's GPUs compute elementary functions: the common ones of float32 by arithmetic, the others by AMD's library.

LLVM has none of them in full precision but exp, exp2 and log. Those by arithmetic are the polynomials of CPUs, so that
most models need nothing of AMD's to be compiled; 2^x is an instruction.
"""

from __future__ import annotations

from functools import partial

from tvm import tirx
from tvm.ir import Expr

from dsc.lower.functions import NAMES, Expansions
from dsc.lower.tensors import dtype_of, in_float32
from dsc.targets.cpu.functions import polynomials

OCML = "__ocml_"
"""How the names of the library's functions begin."""


def _exp2(x: Expr) -> Expr:
    """``v_exp_f32``, with what small results need besides."""
    return tirx.call_llvm_pure_intrin("float32", "llvm.exp2.f32", x)


BY_ARITHMETIC = {
    "exp": polynomials.exp,
    "exp2": _exp2,
    "log": polynomials.log,
    "log1p": polynomials.log1p,
    "tanh": polynomials.tanh,
    "erf": polynomials.erf,
}


def _of(name: str, *operands: Expr) -> Expr:
    dtype = dtype_of(operands[0])
    if dtype == "float32" and name in BY_ARITHMETIC:
        return BY_ARITHMETIC[name](*operands)
    return tirx.call_pure_extern(dtype, f"{OCML}{name}_f{dtype.removeprefix('float')}", *operands)


FUNCTIONS: Expansions = {name: partial(in_float32, partial(_of, name)) for name in NAMES}
"""Of half precision by way of float32."""
