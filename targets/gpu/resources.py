"""What launches take of a multiprocessor: from what a compiler says of their code, and the machine's limits."""

from __future__ import annotations

import math

import tvm
import tvm_ffi
from tvm import tirx

from dsc.targets.gpu.estimate import Launch, resident_blocks
from dsc.targets.gpu.launch import DYNAMIC
from dsc.targets.gpu.machine import Gpu
from dsc.targets.resources import KernelResources


def block_threads(module: tvm.IRModule) -> dict[str, int]:
    """Threads of a block, by the name of each of the device's functions."""
    return {str(func.attrs["global_symbol"]): _threads(func) for func in module.functions.values()}


def dynamic_shared_bytes(module: tvm.IRModule) -> dict[str, int]:
    """Shared memory that launches ask for, by the name of each of the device's functions; 0 where they do not."""
    return {str(func.attrs["global_symbol"]): _dynamic(func) for func in module.functions.values()}


def _dynamic(func: tirx.PrimFunc) -> int:
    sizes: list[int] = []

    def note(node: tirx.AllocBuffer) -> None:
        if node.buffer.scope() == DYNAMIC:
            bits = tvm.DataType(str(node.buffer.dtype)).bits
            sizes.append(math.prod(int(extent) for extent in node.buffer.shape) * bits // 8)

    tvm_ffi.structural_walk(func.body, (tirx.AllocBuffer, note))
    return sum(sizes)


def _threads(func: tirx.PrimFunc) -> int:
    extents: dict[str, int] = {}

    def note(node: tirx.AttrStmt) -> None:
        if node.attr_key == "thread_extent" and str(node.node.thread_tag).startswith("threadIdx"):
            extents[str(node.node.thread_tag)] = int(node.value)

    tvm_ffi.structural_walk(func.body, (tirx.AttrStmt, note))
    return math.prod(extents.values())


def of_machine(
    machine: Gpu,
    kernel: str,
    *,
    threads: int,
    registers: int,
    spilled_bytes: int,
    stack_bytes: int,
    shared_bytes: int,
    matrix_instructions: int | None,
) -> KernelResources:
    """What a compiler says of a kernel, with how many of its blocks a multiprocessor holds."""
    launch = Launch(1, threads, cycles=0.0, bytes=0.0, registers=max(1, registers), shared_bytes=shared_bytes)
    blocks = resident_blocks(machine, launch)
    return KernelResources(
        kernel, threads, registers, spilled_bytes, stack_bytes, shared_bytes, blocks,
        blocks * threads / machine.resident_threads, matrix_instructions,
    )  # fmt: skip
