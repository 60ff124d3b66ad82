"""The ROCm family: AMD's GPUs by instruction set, and the one of this host."""

from __future__ import annotations

from dsc.targets.backend import Backend
from dsc.targets.gpu.family import GpuFamily
from dsc.targets.gpu.machine import Gpu
from dsc.targets.rocm.backend import Assemble, RocmBackend
from dsc.targets.rocm.host import native
from dsc.targets.rocm.machines import BY_TAG


class Rocm(GpuFamily):
    """`dsc.targets.Family` of AMD's GPUs."""

    name = "rocm"
    default = "gfx942"
    machines = BY_TAG

    def __init__(self, assemble: Assemble | None = None) -> None:
        """`assemble`: a simulator's maker of images; None for code objects by lld."""
        self._assemble = assemble

    def native(self) -> Gpu:
        """The GPU of this host. Raises `UsageError` where there is none."""
        return native()

    def backend(self, machine: Gpu) -> Backend:
        """Code by LLVM, code objects by lld."""
        return RocmBackend(machine, assemble=self._assemble)
