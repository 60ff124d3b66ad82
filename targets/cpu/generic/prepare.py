"""From a function as `te.create_prim_func` makes it to the stages that are worth loops of their own."""

from __future__ import annotations

import logging

import tvm
import tvm_ffi
from tvm import s_tir, tirx
from tvm_ffi.structural import StructuralMutator

from dsc.lower.exprs import static
from dsc.lower.te import lowered, prim_func
from dsc.lower.workload import Workload, once
from dsc.targets.cpu.generic.inline import inline, inline_padding
from dsc.targets.cpu.generic.relayout import relayout
from dsc.targets.cpu.generic.stages import stages
from dsc.targets.cpu.generic.variables import renewed

_LOG = logging.getLogger(__name__)
REFUSED = (s_tir.ScheduleError, tvm.error.InternalError)
"""What TVM raises for what its schedules cannot do."""
RELAYOUTS = 2
"""Blocks within blocks appear once the outer ones are loops: 8 channels of 16, when such layouts meet."""


@once
def prepared(workload: Workload) -> tirx.PrimFunc:
    """The function of a workload, prepared."""
    made = lowered(workload)
    return prepare(prim_func(workload, made.inputs, made.outputs))


def prepare(func: tirx.PrimFunc) -> tirx.PrimFunc:
    """Inlines, and makes accesses affine in loops where blocked layouts allow it; without a schedule yet.

    Comes back as it is where there is nothing to compute, or TVM refuses.
    """
    if empty(func):
        return func
    try:
        return _prepared(func)
    except REFUSED as error:
        warn("nothing inlined", func, error)
        return func


def empty(func: tirx.PrimFunc) -> bool:
    """Whether a parameter has no elements."""
    buffers = [parameter for parameter in func.params if tirx.is_buffer_var(parameter)]
    return any(static(size) == 0 for buffer in buffers for size in buffer.shape)


def warn(what: str, func: tirx.PrimFunc, error: Exception) -> None:
    """Says in one line what TVM refused, and for which stages."""
    names = " -> ".join(stage.name for stage in stages(s_tir.Schedule(func)))
    reason = next((line for line in reversed(str(error).splitlines()) if line.strip()), "")
    _LOG.warning("%s for %s: %s", what, names, reason)


def _prepared(func: tirx.PrimFunc) -> tirx.PrimFunc:
    sch = s_tir.Schedule(func)
    inline(sch)
    for _ in range(RELAYOUTS):
        changed = relayout(sch)
        sch = s_tir.Schedule(_simplified(renewed(sch.mod["main"])))
        if not changed:
            break
    inline_padding(sch)
    return renewed(sch.mod["main"])


def _simplified(func: tirx.PrimFunc) -> tirx.PrimFunc:
    """Simplifies indices, and binds iterators to their loops again where those have one iteration."""
    func = s_tir.transform.StmtSimplify()(tvm.IRModule({"main": func}))["main"]
    loops: list[tirx.For] = []

    def loop(node: tirx.For, mutator: StructuralMutator) -> tirx.For:
        loops.append(node)
        node = mutator.default_mutate(node)
        loops.pop()
        return node

    def realize(node: s_tir.SBlockRealize, mutator: StructuralMutator) -> s_tir.SBlockRealize:
        if not node.iter_values or len(loops) != len(node.iter_values):
            return mutator.default_mutate(node)
        values = [x.loop_var if static(v) == 0 else v for x, v in zip(loops, node.iter_values, strict=True)]
        return s_tir.SBlockRealize(values, node.predicate, node.block)

    entries = [(tirx.For, loop), (s_tir.SBlockRealize, realize)]
    return func.with_body(tvm_ffi.structural_mutate(func.body, entries))
