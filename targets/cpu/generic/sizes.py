"""Sizes that may be symbolic, and what to assume of those that are."""

from __future__ import annotations

import math
from collections.abc import Iterable

import tvm_ffi
from tvm import tirx
from tvm.ir import Expr
from tvm.sym import Analyzer

NOMINAL = 32
"""The value assumed of a symbolic dim where a decision needs a number: batches are smaller, sequences longer."""


def static(size: int | Expr) -> int | None:
    """The size if it is a constant."""
    if isinstance(size, int):
        return size
    return int(size.value) if isinstance(size, tirx.IntImm) else None


def nominal(size: int | Expr) -> int:
    """The size, with `NOMINAL` for each symbolic dim in it."""
    known = static(size)
    if known is not None:
        return known
    bound = tvm_ffi.structural_map(size, (tirx.Var, lambda var: tirx.IntImm(str(var.ty), NOMINAL)))
    found = Analyzer().simplify(bound)
    return max(1, int(found.value)) if isinstance(found, tirx.IntImm) else NOMINAL  # floor(1.3 * n) stays a call


def volume(sizes: Iterable[int | Expr]) -> int:
    """Nominal number of elements of a shape."""
    return math.prod(nominal(size) for size in sizes)


def same(a: int | Expr, b: int | Expr) -> bool:
    """Whether two sizes are provably equal."""
    known = static(a), static(b)
    if None not in known:
        return known[0] == known[1]
    return bool(Analyzer().can_prove_equal(a, b))
