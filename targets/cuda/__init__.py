"""The CUDA family: NVIDIA's GPUs by compute capability, and the one of this host."""

from __future__ import annotations

from dsc.targets.backend import Backend
from dsc.targets.cuda.backend import Assemble, CudaBackend
from dsc.targets.cuda.host import native
from dsc.targets.cuda.machines import BY_TAG, DEFAULT
from dsc.targets.cuda.toolchain import assemble as nvcc
from dsc.targets.gpu.family import GpuFamily
from dsc.targets.gpu.machine import Gpu


class Cuda(GpuFamily):
    """`dsc.targets.Family` of NVIDIA's GPUs."""

    name = "cuda"
    default = DEFAULT
    machines = BY_TAG

    def __init__(self, assemble: Assemble = nvcc) -> None:
        """`assemble`: what makes images of kernels' sources: nvcc, or a simulator."""
        self._assemble = assemble

    def native(self) -> Gpu:
        """The first GPU of the host. Raises `UsageError` where there is none."""
        return native()

    def backend(self, machine: Gpu) -> Backend:
        """CUDA C++ by TVM, images by nvcc."""
        return CudaBackend(machine, assemble=self._assemble)
