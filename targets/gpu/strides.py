"""How elements lie in memory with respect to an index."""

from __future__ import annotations

from collections.abc import Sequence

import tvm_ffi
from tvm import te, tirx
from tvm.ir import Expr

from dsc.lower.exprs import Dim, dims, simplify
from dsc.targets.cpu.inline import Leaf
from dsc.targets.gpu.elements import Elements
from dsc.targets.tir.loops import function


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


def steps(stage: te.ComputeOp, part: Expr, memory: Sequence[te.Tensor], index: tirx.Var) -> list[int | None]:
    """The same, of all that is read of `memory` for a part of what a reduction takes."""
    found: list[int | None] = []

    def reading(source: te.Tensor) -> Leaf:
        def leaf(indices: Sequence[Expr]) -> Expr:
            found.append(step(indices, dims(source.shape), index))
            return tirx.Var("loaded", str(source.dtype))

        return leaf

    with function():
        elements = Elements({source: reading(source) for source in memory})
        elements.term(stage, part, [axis.var for axis in stage.axis], [axis.var for axis in stage.reduce_axis])
    return found
