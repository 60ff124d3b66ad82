"""The x86-64 family: machines by name, and the host."""

from __future__ import annotations

from dsc.host import FAMILY
from dsc.targets.cpu.family import CpuFamily
from dsc.targets.cpu.link import Compiler
from dsc.targets.cpu.machine import Cpu
from dsc.targets.x86.host import native
from dsc.targets.x86.machines import BY_TAG


class X86(CpuFamily):
    """`dsc.targets.Family` of x86-64 CPUs."""

    name = "x86"
    default = "x86-64-v3"
    machines = BY_TAG
    cross = Compiler(("x86_64-linux-gnu-gcc",), "gcc-x86-64-linux-gnu libc6-dev-amd64-cross")
    is_host = FAMILY == "x86"

    def native(self) -> Cpu:
        """The host. Raises `UsageError` where that is not an x86-64 with at least SSE 4.2."""
        return native()
