"""The CUDA family: NVIDIA's GPUs by compute capability, the one of this host, and the kernels of all GPUs."""

from __future__ import annotations

from collections.abc import Sequence

from dsc.targets.backend import Backend
from dsc.targets.cuda.backend import CudaBackend
from dsc.targets.cuda.host import native
from dsc.targets.cuda.machines import BY_TAG, DEFAULT
from dsc.targets.gpu.kernels import gpu_kernels
from dsc.targets.gpu.machine import Gpu
from dsc.targets.kernel import Kernel


class Cuda:
    """`dsc.targets.Family` of NVIDIA's GPUs."""

    name = "cuda"
    default = DEFAULT

    def tags(self) -> Sequence[str]:
        """Compute capabilities, the oldest first."""
        return tuple(BY_TAG)

    def machine(self, tag: str) -> Gpu:
        """The machine of that tag."""
        return BY_TAG[tag]

    def native(self) -> Gpu:
        """The first GPU of the host. Raises `UsageError` where there is none."""
        return native()

    def kernels(self, machine: Gpu) -> Sequence[Kernel[Gpu]]:
        """Those of all GPUs; they read what they need to know from `machine`."""
        return gpu_kernels()

    def passes(self, machine: Gpu) -> str:
        """Images stay in ONNX's layout."""
        return ""

    def backend(self, machine: Gpu) -> Backend:
        """CUDA C++ by TVM, images by nvcc."""
        return CudaBackend(machine)
