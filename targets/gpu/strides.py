"""How elements lie in memory with respect to an index."""

from __future__ import annotations

from collections.abc import Sequence

import tvm_ffi
from tvm import tirx
from tvm.ir import Expr

from dsc.lower.exprs import Dim, simplify


def step(indices: Sequence[Expr], shape: Sequence[Dim], index: tirx.Var) -> int | None:
    """How far apart in memory two elements are whose `index` differs by one; None where that varies."""
    flat: Dim = 0
    for each, size in zip(indices, shape, strict=True):
        flat = flat * size + each
    if isinstance(flat, int):
        return 0
    after = tvm_ffi.structural_map(flat, (tirx.Var, lambda var: var + 1 if var.same_as(index) else var))
    found = simplify(after - flat)
    return found if isinstance(found, int) else None
