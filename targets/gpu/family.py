"""What families of GPUs have in common: a table of machines, the GPU kernels."""

from __future__ import annotations

from collections.abc import Sequence

from dsc.targets.family import MachineTable
from dsc.targets.gpu.kernels import gpu_kernels
from dsc.targets.gpu.machine import Gpu
from dsc.targets.kernel import Kernel


class GpuFamily(MachineTable[Gpu]):
    """The part of a `dsc.targets.Family` that is the same for every vendor. What is left to say is the table, which
    machine the host has, and the backend."""

    def kernels(self, machine: Gpu) -> Sequence[Kernel[Gpu]]:
        """Those of all GPUs; they read what they need to know from `machine`."""
        return gpu_kernels()

    def multiplies_bytes(self, machine: Gpu) -> bool:
        """Not yet: quantized models are computed in floats."""
        return False

    def unpacks_weights(self, machine: Gpu) -> bool:
        """Not yet."""
        return False

    def passes(self, machine: Gpu) -> str:
        """Images with channels in blocks, which neighbouring threads then work on; and where weights have zeros."""
        return "layout{block=16},sparsity"
