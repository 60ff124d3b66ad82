"""Elementary functions: calls that say what is computed, of any float type, and leave to the machine how.

A CPU computes most of them as polynomials, a GPU has instructions for some. Each family of machines has a table of
expansions, and `expanded` puts them in place of the calls before anything else is done to a scheduled function; until
then TVM and the schedules see one pure operator, which works on vectors too (`dsc.exp`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

import tvm_ffi
from tvm import tirx
from tvm.ir import Call, Expr
from tvm_ffi.structural import StructuralMutator

from dsc.errors import DscError
from dsc.lower import operators

Expansions: TypeAlias = Mapping[str, Callable[..., Expr]]
"""By name of the function: how a machine computes it, given the operands; in whatever float type they have."""

NAMES = (
    *("exp", "exp2", "log", "log1p", "erf", "sin", "cos", "tan", "asin", "acos", "atan"),
    *("sinh", "cosh", "tanh", "asinh", "acosh", "atanh", "pow", "fmod"),
)
"""Of all of them, as C's library calls them."""
_OPERATORS = {name: operators.operator(name, "an elementary function") for name in NAMES}


@tvm_ffi.register_error
class MissingFunctionError(DscError):
    """A machine has no expansion of a function that a kernel calls. (Registered, it passes through TVM's passes.)"""


def function(name: str, *operands: Expr) -> Expr:
    """The function `name` of operands of one float type, which is the result's."""
    return operators.call(_OPERATORS[name], str(operands[0].expr_ty()), *operands)


def exp(x: Expr) -> Expr:
    """e^x."""
    return function("exp", x)


def exp2(x: Expr) -> Expr:
    """2^x."""
    return function("exp2", x)


def log(x: Expr) -> Expr:
    """The natural logarithm: -inf of 0, NaN below."""
    return function("log", x)


def log1p(x: Expr) -> Expr:
    """log(1 + x), exact to the last bits for small x too: -inf of -1, NaN below."""
    return function("log1p", x)


def erf(x: Expr) -> Expr:
    """The error function."""
    return function("erf", x)


def cos(x: Expr) -> Expr:
    """The cosine of an angle in radians."""
    return function("cos", x)


def pow(x: Expr, y: Expr) -> Expr:
    """x to the power y, as C's pow has it."""
    return function("pow", x, y)


def fmod(a: Expr, b: Expr) -> Expr:
    """The remainder of a / b with the sign of a, exact."""
    return function("fmod", a, b)


def expanded(func: tirx.PrimFunc, expansions: Expansions) -> tirx.PrimFunc:
    """`func` with `expansions` in place of the calls. Raises MissingFunctionError where there is none."""
    missing: set[str] = set()

    def expand(node: Call, mutator: StructuralMutator) -> Expr:
        name = operators.name_of(node)
        if name not in _OPERATORS:
            return mutator.default_mutate(node)
        operands = [mutator.mutate(operand) for operand in node.args]
        if name not in expansions:
            missing.add(name)  # exceptions do not pass TVM's mutators
            return node
        return expansions[name](*operands)

    body = tvm_ffi.structural_mutate(func.body, [(Call, expand)])
    if missing:
        raise MissingFunctionError(f"the target has no code for the functions {', '.join(sorted(missing))}")
    return func.with_body(body)
