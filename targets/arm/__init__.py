"""The 64-bit Arm family: machines by name, and the host."""

from __future__ import annotations

from dsc.host import FAMILY
from dsc.targets.arm.host import native
from dsc.targets.arm.machines import BY_TAG
from dsc.targets.cpu.family import CpuFamily
from dsc.targets.cpu.link import Compiler
from dsc.targets.cpu.machine import Cpu


class Arm(CpuFamily):
    """`dsc.targets.Family` of 64-bit Arm CPUs under Linux."""

    name = "arm"
    default = "cortex-a76"
    machines = BY_TAG
    cross = Compiler(("aarch64-linux-gnu-gcc",), "gcc-aarch64-linux-gnu libc6-dev-arm64-cross")
    is_host = FAMILY == "arm"

    def native(self) -> Cpu:
        """The host. Raises `UsageError` where that is no 64-bit Arm."""
        return native()
