"""The x86-64 family: machines by name, the host, and the CPU kernels and backend."""

from __future__ import annotations

from collections.abc import Sequence

from dsc.host import FAMILY
from dsc.targets.backend import Backend
from dsc.targets.cpu.backend import CpuBackend
from dsc.targets.cpu.kernels import cpu_kernels
from dsc.targets.cpu.link import HOST, Compiler
from dsc.targets.cpu.machine import Cpu
from dsc.targets.kernel import Kernel
from dsc.targets.x86.host import native
from dsc.targets.x86.machines import BY_TAG

CROSS = Compiler(("x86_64-linux-gnu-gcc",), "gcc-x86-64-linux-gnu libc6-dev-amd64-cross")


class X86:
    """`dsc.targets.Family` of x86-64 CPUs."""

    name = "x86"
    default = "x86-64-v3"

    def tags(self) -> Sequence[str]:
        """Levels of the psABI and microarchitectures."""
        return tuple(BY_TAG)

    def machine(self, tag: str) -> Cpu:
        """The machine of that tag."""
        return BY_TAG[tag]

    def native(self) -> Cpu:
        """The host. Raises `UsageError` where that is not an x86-64 with at least SSE 4.2."""
        return native()

    def kernels(self, machine: Cpu) -> Sequence[Kernel[Cpu]]:
        """The CPU kernels; they read what they need to know from `machine`."""
        return cpu_kernels()

    def passes(self, machine: Cpu) -> str:
        """Channels in blocks of a vector."""
        return f"layout{{block={machine.lanes()}}}"

    def backend(self, machine: Cpu) -> Backend:
        """Code by LLVM, linked with dsc's thread pool by the system's C compiler, or across from another host."""
        return CpuBackend(machine, HOST if self.name == FAMILY else CROSS)
