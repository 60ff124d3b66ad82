"""NVIDIA's GPUs, driven by TVM's CUDA runtime."""

from __future__ import annotations

import tvm

from dsc.errors import ArtifactError
from dsc.needs import Facts
from dsc.runtime.devices.separate import SeparateMemory


class Cuda(SeparateMemory):
    """`dsc.runtime.devices.Device`: the first GPU that the driver shows (`CUDA_VISIBLE_DEVICES` says which that is)."""

    name = "cuda"

    def __init__(self) -> None:
        super().__init__(tvm.cuda(0))

    def check(self, facts: Facts, target: str, source: str) -> None:
        """The compute capability: code for 8.0 runs on 8.x as it is, and on what comes later once the driver has
        compiled its PTX; code for 9.0a nowhere else."""
        arch = str(facts.get("arch", ""))
        wanted, only = _capability(arch.removesuffix("a")), arch.endswith("a")
        which = f"{wanted}, and no other, whose own instructions it has" if only else f"{wanted} or later"
        needed = f"{source} was compiled for {target} and needs a GPU of compute capability {which}"
        if not self.handle.exist:
            raise ArtifactError(
                f"{needed}; there is none here, or its driver (libcuda.so.1) or CUDA's runtime library "
                "(libcudart.so.13) cannot be loaded. See what nvidia-smi says, or compile for another target"
            )
        found = str(self.handle.compute_version)
        if _number(found) < _number(wanted) or (only and found != wanted):
            raise ArtifactError(f"{needed}; the GPU here has {found}: compile the model again with --target cuda")


def _capability(arch: str) -> str:
    """``sm_86`` as ``8.6``, ``sm_100`` as ``10.0``."""
    digits = arch.removeprefix("sm_")
    return f"{digits[:-1]}.{digits[-1:]}"


def _number(capability: str) -> tuple[int, int]:
    major, _, minor = capability.partition(".")
    return int(major), int(minor)
