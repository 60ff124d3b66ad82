"""The 64-bit Arm family: machines by name, the host, and the CPU kernels and backend."""

from __future__ import annotations

from collections.abc import Sequence

from dsc.host import FAMILY
from dsc.targets.arm.host import native
from dsc.targets.arm.machines import BY_TAG
from dsc.targets.backend import Backend
from dsc.targets.cpu.backend import CpuBackend
from dsc.targets.cpu.kernels import cpu_kernels
from dsc.targets.cpu.link import HOST, Compiler
from dsc.targets.cpu.machine import Cpu
from dsc.targets.kernel import Kernel

CROSS = Compiler(("aarch64-linux-gnu-gcc",), "gcc-aarch64-linux-gnu libc6-dev-arm64-cross")


class Arm:
    """`dsc.targets.Family` of 64-bit Arm CPUs under Linux."""

    name = "arm"
    default = "cortex-a76"

    def tags(self) -> Sequence[str]:
        """Cores, and the level that all have."""
        return tuple(BY_TAG)

    def machine(self, tag: str) -> Cpu:
        """The machine of that tag."""
        return BY_TAG[tag]

    def native(self) -> Cpu:
        """The host. Raises `UsageError` where that is no 64-bit Arm."""
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
