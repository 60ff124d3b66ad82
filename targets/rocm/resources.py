"""What a kernel takes of a compute unit, as LLVM's metadata of the code object says."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from dsc.errors import DscError
from dsc.targets.gpu.machine import Gpu
from dsc.targets.gpu.resources import of_machine
from dsc.targets.resources import KernelResources

_METADATA = re.compile(r"\.amdgpu_metadata\n(.*?)\n\s*\.end_amdgpu_metadata", re.DOTALL)
_KERNEL = re.compile(r"^  - ", re.MULTILINE)
_MATRIX = re.compile(r"^\s+v_(?:mfma|smfmac|wmma|swmmac)_", re.MULTILINE)
_ENTRY = re.compile(r"^    \.(\w+): +(\S+)$", re.MULTILINE)


class ResourceError(DscError):
    """A kernel takes more than the machine has."""


@dataclass(frozen=True)
class Resources:
    """Of one kernel; registers are those of a thread (vector) and of a wavefront (scalar), of 32 bits."""

    kernel: str
    vector_registers: int
    """With those of accumulation, where they are of one file."""
    accumulation_registers: int
    """Which some machines have for matrix instructions; 0 elsewhere."""
    scalar_registers: int
    vector_spills: int
    """Registers that had to go to memory."""
    scalar_spills: int
    """Those that had to go to vector registers, or to memory."""
    shared_bytes: int
    """Of a block."""
    private_bytes: int
    """Memory of each thread: arrays that are no registers, and spills."""


def resources(assembly: str) -> tuple[Resources, ...]:
    """Those of each kernel, of LLVM's assembly. Raises ValueError where the metadata is missing."""
    found = _METADATA.search(assembly)
    if found is None:
        raise ValueError("the assembly has no metadata of kernels")
    _, *kernels = _KERNEL.split(found[1].partition("amdhsa.kernels:\n")[2].partition("\namdhsa.")[0])
    return tuple(map(_of, kernels))


def _of(kernel: str) -> Resources:
    entries = dict(_ENTRY.findall(f"    {kernel}"))
    return Resources(
        kernel=entries["name"],
        vector_registers=int(entries["vgpr_count"]),
        accumulation_registers=int(entries.get("agpr_count", 0)),
        scalar_registers=int(entries["sgpr_count"]),
        vector_spills=int(entries["vgpr_spill_count"]),
        scalar_spills=int(entries["sgpr_spill_count"]),
        shared_bytes=int(entries["group_segment_fixed_size"]),
        private_bytes=int(entries["private_segment_fixed_size"]),
    )


def matrix_instructions(assembly: str, kernel: str) -> int:
    """Those of matrix cores in a kernel's code, each once however often it runs: ``v_mfma_*`` and ``v_wmma_*``.

    Raises ValueError where the assembly has no such kernel.
    """
    code = re.search(rf"^{re.escape(kernel)}:\n(.*?)^\.Lfunc_end", assembly, re.MULTILINE | re.DOTALL)
    if code is None:
        raise ValueError(f"the assembly has no kernel {kernel}")
    return len(_MATRIX.findall(code[1]))


def kernel_resources(assembly: str, machine: Gpu, threads: Mapping[str, int]) -> tuple[KernelResources, ...]:
    """Of each kernel what a compute unit has to hold; `threads`: the sizes of their blocks, by name.

    Of registers that went to memory LLVM tells how many, not how often they are stored and loaded.
    """
    return tuple(
        of_machine(
            machine,
            used.kernel,
            threads=threads[used.kernel],
            registers=used.vector_registers,
            spilled_bytes=4 * used.vector_spills,
            stack_bytes=used.private_bytes,
            shared_bytes=used.shared_bytes,
            matrix_instructions=matrix_instructions(assembly, used.kernel),
        )
        for used in resources(assembly)
    )


def check(used: Resources, machine: Gpu) -> None:
    """Raises `ResourceError` where a block does not fit a compute unit."""
    if used.shared_bytes > machine.shared_bytes:
        raise ResourceError(
            f"{used.kernel} takes {used.shared_bytes} bytes of local memory; {machine.arch} has {machine.shared_bytes}"
        )
    if used.vector_registers > machine.registers_per_thread:
        raise ResourceError(
            f"{used.kernel} takes {used.vector_registers} registers; {machine.arch} has {machine.registers_per_thread}"
        )
