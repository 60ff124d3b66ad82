"""The x86-64 family: machines by name, the host, and the CPU kernels."""

from __future__ import annotations

from collections.abc import Sequence

from dsc.errors import UsageError
from dsc.targets.cpu.kernels import cpu_kernels
from dsc.targets.kernel import Kernel
from dsc.targets.machine import Machine
from dsc.targets.x86.host import native
from dsc.targets.x86.machines import CORES, named


class X86:
    """`dsc.targets.Family` of x86-64 CPUs."""

    name = "x86"

    def tags(self) -> Sequence[str]:
        """``native`` and every named machine."""
        return ("native", *CORES)

    def machine(self, tag: str) -> Machine:
        """The machine of that tag. Raises `UsageError` for a tag that is not known."""
        if tag == "native":
            return native()
        if tag not in CORES:
            raise UsageError(f"unknown target 'x86:{tag}': known are {', '.join(sorted(self.tags()))}")
        return named(tag)

    def kernels(self, machine: Machine) -> tuple[Kernel, ...]:
        """The CPU kernels; they read what they need to know from `machine`."""
        return cpu_kernels()
