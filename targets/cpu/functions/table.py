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


def _by_type(single: Expansion, double: Expansion) -> Expansion:
    """An expansion of two, of which one is for float32 and one for float64."""

    def expansion(*operands: Expr) -> Expr:
        return (double if dtype_of(operands[0]) == "float64" else single)(*operands)

    return expansion


_IN_VECTORS: dict[str, Expansion] = {
    "exp": _by_type(polynomials.exp, tirx.exp),
    "log": _by_type(polynomials.log, tirx.log),
    "log1p": _by_type(polynomials.log1p, partial(libm, "log1p")),
    "tanh": _by_type(polynomials.tanh, partial(libm, "tanh")),
    "erf": _by_type(polynomials.erf, partial(libm, "erf")),
    "pow": tirx.pow,
}

FUNCTIONS: Expansions = {name: partial(in_float32, _IN_VECTORS.get(name, partial(libm, name))) for name in NAMES}
"""Half precision goes through float32."""
