"""AMD's GPUs, driven by TVM's ROCm runtime, where there is one."""

from __future__ import annotations

import tvm

from dsc.errors import ArtifactError
from dsc.needs import Facts
from dsc.runtime.devices.separate import SeparateMemory

_RUNTIME = "ffi.Module.load_from_bytes.hip"
"""The function of TVM that loads code objects; TVM built without ROCm has none."""


class Rocm(SeparateMemory):
    """`dsc.runtime.devices.Device`: the first GPU that HIP shows (`HIP_VISIBLE_DEVICES` says which that is)."""

    name = "rocm"

    def __init__(self) -> None:
        super().__init__(tvm.rocm(0))

    def check(self, facts: Facts, target: str, source: str) -> None:
        """The instruction set, as far as TVM tells it: without its stepping. HIP refuses code for another one."""
        wanted = str(facts.get("arch", ""))
        needed = f"{source} was compiled for {target} and needs an AMD GPU of type {wanted}"
        if tvm.get_global_func(_RUNTIME, allow_missing=True) is None:
            raise ArtifactError(
                f"{needed} with a TVM that was built with USE_ROCM; this TVM has no ROCm runtime (nor has the package "
                "apache-tvm of PyPI). Run it where there is one, or compile for another target"
            )
        if not self.handle.exist:
            raise ArtifactError(
                f"{needed}; there is none here, or its driver cannot be used. See what rocminfo says, or compile for "
                "another target"
            )
        found = str(self.handle.compute_version)
        if found != version(wanted):
            raise ArtifactError(
                f"{needed}, of version {version(wanted)}; the GPU here has {found}: compile the model again with "
                "--target rocm"
            )


def version(arch: str) -> str:
    """``9.4`` of ``gfx942``, ``11.0`` of ``gfx1100``: what stands before the stepping."""
    digits = arch.removeprefix("gfx")
    return f"{digits[:-2]}.{digits[-2:-1]}"
