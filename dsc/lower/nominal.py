"""What sizes that are known at run time only are taken to be, where a decision needs a number."""

from __future__ import annotations

import math
from collections.abc import Iterable

import tvm_ffi
from tvm import tirx
from tvm.sym import Analyzer

from dsc.lower.exprs import Dim, static

NOMINAL = 64
"""A sentence, or the side of a feature map. By the estimates for MiniLM, BERT and PP-OCR's detector, kernels chosen for
64 take on average at most 2 % more than the best for each size from 32 to 128, and 8 % up to 512. Chosen for 32, they
take up to 24 % more, as loops stay serial that are worth sharing; those for 128 gain little above, and lose below."""


def nominal(size: Dim, assumed: int | None = None) -> int:
    """The size, with `assumed` (`NOMINAL` if not given) for each variable in it; at least 1 if it has any."""
    known = static(size)
    if known is not None:
        return known
    value = NOMINAL if assumed is None else assumed
    if isinstance(size, tirx.Var):  # most are, and design spaces ask thousands of times
        return max(1, value)
    bound = tvm_ffi.structural_map(size, (tirx.Var, lambda var: tirx.IntImm(str(var.ty), value)))
    found = Analyzer().simplify(bound)
    return max(1, int(found.value)) if isinstance(found, tirx.IntImm) else value  # floor(1.3 * n) stays a call


def batch(sizes: Iterable[Dim]) -> int:
    """The number of equal problems: a batch of unknown size is taken to be one, as most are."""
    return math.prod(nominal(size, 1) for size in sizes)


def volume(sizes: Iterable[Dim]) -> int:
    """Nominal number of elements of a shape."""
    return math.prod(nominal(size) for size in sizes)
