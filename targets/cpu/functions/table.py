"""How a CPU computes elementary functions: float32 in vector registers where it can, float64 by C's library."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from tvm import tirx
from tvm.ir import Expr

from dsc.lower.functions import NAMES, Expansions
from dsc.lower.tensors import dtype_of, in_float32
from dsc.targets.cpu.functions import polynomials
from dsc.targets.cpu.functions.libm import libm

Expansion = Callable[..., Expr]


_IN_VECTORS: dict[str, dict[str, Expansion]] = {
    "float32": {
        "exp": polynomials.exp,
        "log": polynomials.log,
        "log1p": polynomials.log1p,
        "tanh": polynomials.tanh,
        "erf": polynomials.erf,
        "pow": tirx.pow,
    },
    "float64": {"exp": tirx.exp, "log": tirx.log, "pow": tirx.pow},
}
"""Those that may be computed of vectors, if only by LLVM, which calls the library for each element of them."""


def by_element(name: str, dtype: str) -> bool:
    """Whether a function is a call of C's library for each element, for which TVM takes statements on vectors apart."""
    return name in NAMES and name not in _IN_VECTORS["float64" if dtype == "float64" else "float32"]


def _expansion(name: str) -> Expansion:
    def of(*operands: Expr) -> Expr:
        in_vectors = _IN_VECTORS[dtype_of(operands[0])]
        return in_vectors[name](*operands) if name in in_vectors else libm(name, *operands)

    return partial(in_float32, of)  # half precision, too


FUNCTIONS: Expansions = {name: _expansion(name) for name in NAMES}
