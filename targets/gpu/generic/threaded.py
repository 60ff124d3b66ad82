"""Functions without a schedule, as a GPU can run them: each of their stages is a kernel of its own."""

from __future__ import annotations

from tvm import s_tir, tirx
from tvm.s_tir.schedule import SBlockRV
from tvm.s_tir.schedule.analysis import has_block

from dsc.targets.gpu.machine import Gpu

THREADS = 128
"""In a block."""
SPATIAL = 0


def threaded(func: tirx.PrimFunc, machine: Gpu) -> tirx.PrimFunc:
    """`func` with a thread for each element of each stage; one thread for what is no loop over elements."""
    sch = s_tir.Schedule(func)
    if not has_block(sch, "root"):
        return _by_one_thread(func)
    for block in sch.get_child_blocks(sch.get_sblock("root")):
        _one_thread_each(sch, block, min(THREADS, machine.max_threads))
    return sch.mod["main"]


def _by_one_thread(func: tirx.PrimFunc) -> tirx.PrimFunc:
    """A launch of one thread: `func` is one stage that has no axes, as a scatter, so a schedule has no loop to bind."""
    body = func.body
    for tag in ("threadIdx.x", "blockIdx.x"):
        axis = tirx.IterVar(None, tirx.Var(tag, "int32"), tirx.IterVar.ThreadIndex, tag)
        body = tirx.For(tirx.Var(tag, "int32"), 0, 1, tirx.ForKind.THREAD_BINDING, body, thread_binding=axis)
    return func.with_body(body)


def _one_thread_each(sch: s_tir.Schedule, block: SBlockRV, threads: int) -> None:
    iterators = sch.get(block).iter_vars
    loops = [loop for loop, i in zip(sch.get_loops(block), iterators, strict=False) if i.iter_type == SPATIAL]
    flat = sch.fuse(*loops) if loops else sch.add_unit_loop(block)
    blocks, lane = sch.split(flat, [None, threads if loops else 1])
    sch.bind(blocks, "blockIdx.x")
    sch.bind(lane, "threadIdx.x")
