"""The ROCm family: AMD's GPUs by instruction set, the one of this host, and the kernels of all GPUs."""

from __future__ import annotations

from collections.abc import Sequence

from dsc.targets.backend import Backend
from dsc.targets.gpu.kernels import gpu_kernels
from dsc.targets.gpu.machine import Gpu
from dsc.targets.kernel import Kernel
from dsc.targets.rocm.backend import RocmBackend
from dsc.targets.rocm.host import native
from dsc.targets.rocm.machines import BY_TAG


class Rocm:
    """`dsc.targets.Family` of AMD's GPUs."""

    name = "rocm"
    default = "gfx942"

    def tags(self) -> Sequence[str]:
        """Instruction sets."""
        return tuple(BY_TAG)

    def machine(self, tag: str) -> Gpu:
        """The machine of that tag."""
        return BY_TAG[tag]

    def native(self) -> Gpu:
        """The GPU of this host. Raises `UsageError` where there is none."""
        return native()

    def kernels(self, machine: Gpu) -> Sequence[Kernel[Gpu]]:
        """Those of all GPUs; they read what they need to know from `machine`."""
        return gpu_kernels()

    def passes(self, machine: Gpu) -> str:
        """Images stay in ONNX's layout."""
        return ""

    def backend(self, machine: Gpu) -> Backend:
        """Code objects by LLVM and lld."""
        return RocmBackend(machine)
