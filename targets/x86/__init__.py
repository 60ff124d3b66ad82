"""The x86-64 family: machines by name, the host, and the CPU kernels and backend."""

from __future__ import annotations

from collections.abc import Sequence

from dsc.errors import UsageError
from dsc.targets.backend import Backend
from dsc.targets.cpu.backend import CpuBackend
from dsc.targets.cpu.kernels import cpu_kernels
from dsc.targets.cpu.machine import Cpu
from dsc.targets.kernel import Kernel
from dsc.targets.x86.host import native
from dsc.targets.x86.machines import BY_TAG


class X86:
    """`dsc.targets.Family` of x86-64 CPUs."""

    name = "x86"

    def tags(self) -> Sequence[str]:
        """``native`` and every named machine."""
        return ("native", *BY_TAG)

    def machine(self, tag: str) -> Cpu:
        """The machine of that tag. Raises `UsageError` for a tag that is not known."""
        if tag == "native":
            return native()
        if tag not in BY_TAG:
            raise UsageError(f"unknown target 'x86:{tag}': known are {', '.join(sorted(self.tags()))}")
        return BY_TAG[tag]

    def kernels(self, machine: Cpu) -> Sequence[Kernel[Cpu]]:
        """The CPU kernels; they read what they need to know from `machine`."""
        return cpu_kernels()

    def passes(self, machine: Cpu) -> str:
        """Channels in blocks of a vector."""
        return f"layout{{block={machine.lanes()}}}"

    def backend(self, machine: Cpu) -> Backend:
        """Code by LLVM, linked by the system's C compiler with dsc's thread pool."""
        return CpuBackend(machine)
