"""How elements lie in memory with respect to an index."""

from __future__ import annotations

from collections.abc import Sequence

from tvm import tirx
from tvm.ir import Expr

from dsc.lower.exprs import Dim, simplify
from dsc.lower.tensors import ravel
from dsc.targets.gpu.access import replaced


def step(indices: Sequence[Expr], shape: Sequence[Dim], index: tirx.Var) -> int | None:
    """How far apart in memory two elements are whose `index` differs by one; None where that varies.

    Where it varies now and then only, as from one block of channels to the next, it is that of the first two.
    """
    flat = ravel(indices, shape)
    if isinstance(flat, int):
        return 0
    apart = replaced(flat, [index], [index + 1]) - flat
    for difference in (apart, replaced(apart, [index], [tirx.const(0, str(index.ty))])):
        found = simplify(difference)
        if isinstance(found, int):
            return found
    return None
