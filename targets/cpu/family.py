"""What families of CPUs have in common: a table of machines, the CPU kernels, code by LLVM."""

from __future__ import annotations

from collections.abc import Sequence

from dsc.targets.backend import Backend
from dsc.targets.cpu.backend import CpuBackend
from dsc.targets.cpu.kernels import cpu_kernels
from dsc.targets.cpu.link import HOST, Compiler
from dsc.targets.cpu.machine import Cpu
from dsc.targets.family import MachineTable
from dsc.targets.kernel import Kernel


class CpuFamily(MachineTable[Cpu]):
    """The part of a `dsc.targets.Family` that is the same for every instruction set. What is left to say is the table,
    and which machine the host is."""

    name: str
    default: str
    cross: Compiler
    """Makes code for them on another host."""

    is_host: bool
    """Whether this host is one of them."""

    def kernels(self, machine: Cpu) -> Sequence[Kernel[Cpu]]:
        """The CPU kernels; they read what they need to know from `machine`."""
        return cpu_kernels()

    def multiplies_bytes(self, machine: Cpu) -> bool:
        """Where more of them are multiplied in a cycle."""
        taking = [row.operations * row.rate for row in machine.instructions if row.a in ("uint8", "int8", "int16")]
        return max(taking, default=0) * machine.frequency > machine.peak("float32")

    def unpacks_weights(self, machine: Cpu) -> bool:
        """In products."""
        return True

    def passes(self, machine: Cpu) -> str:
        """Channels in blocks of a vector; weights, and inputs of few rows, whose zeros are not multiplied; weights that
        rows choose."""
        return f"layout{{block={machine.lanes()}}},sparsity,sparse-inputs,chosen-weights"

    def backend(self, machine: Cpu) -> Backend:
        """Code by LLVM, linked with dsc's thread pool by the system's C compiler, or across from another host."""
        return CpuBackend(machine, HOST if self.is_host else self.cross)
