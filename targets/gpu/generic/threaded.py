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
    for block in _blocks(sch):
        _one_thread_each(sch, block, min(THREADS, machine.max_threads))
    return sch.mod["main"]


def _blocks(sch: s_tir.Schedule) -> list[SBlockRV]:
    return list(sch.get_child_blocks(sch.get_sblock("root"))) if has_block(sch, "root") else []


def _one_thread_each(sch: s_tir.Schedule, block: SBlockRV, threads: int) -> None:
    iterators = sch.get(block).iter_vars
    loops = [loop for loop, i in zip(sch.get_loops(block), iterators, strict=False) if i.iter_type == SPATIAL]
    flat = sch.fuse(*loops) if loops else sch.add_unit_loop(block)
    blocks, lane = sch.split(flat, [None, threads if loops else 1])
    sch.bind(blocks, "blockIdx.x")
    sch.bind(lane, "threadIdx.x")
