"""What ptxas says of the kernels that it assembles (``-v``)."""

from __future__ import annotations

import re
from collections.abc import Mapping

from dsc.targets.gpu.machine import Gpu
from dsc.targets.gpu.resources import of_machine
from dsc.targets.resources import KernelResources

_ENTRY = re.compile(r"Compiling entry function '(\w+)' for '\w+'\n(.*?)(?=Compiling entry function|\Z)", re.DOTALL)
_MEMORY = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")
_REGISTERS = re.compile(r"Used (\d+) registers")
_SHARED = re.compile(r"(\d+) bytes smem")


def resources(
    said: str, machine: Gpu, threads: Mapping[str, int], dynamic: Mapping[str, int]
) -> tuple[KernelResources, ...]:
    """Those of each kernel, in the order of `threads`: their blocks' sizes by name.

    said: by nvcc, to which ``-Xptxas -v`` was given. dynamic: bytes of shared memory that launches ask for, of which
    ptxas does not know, by name. Raises ValueError where ptxas says nothing of a kernel.
    """
    found = dict(_ENTRY.findall(said))
    if missing := [name for name in threads if name not in found]:
        raise ValueError(f"ptxas says nothing of the kernel {missing[0]}")
    return tuple(_of(name, found[name], machine, count, dynamic[name]) for name, count in threads.items())


def _of(kernel: str, said: str, machine: Gpu, threads: int, dynamic: int) -> KernelResources:
    memory, registers, shared = _MEMORY.search(said), _REGISTERS.search(said), _SHARED.search(said)
    if memory is None or registers is None:
        raise ValueError(f"what ptxas says of the kernel {kernel} has another form: {said.strip()[:200]!r}")
    stack, stores, loads = map(int, memory.groups())
    return of_machine(
        machine,
        kernel,
        threads=threads,
        registers=int(registers[1]),
        spilled_bytes=stores + loads,
        stack_bytes=stack,
        shared_bytes=dynamic + (0 if shared is None else int(shared[1])),
        matrix_instructions=None,
    )
