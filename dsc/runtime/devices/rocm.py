"""AMD's GPUs, driven by dsc's own devices for TVM's runtime (`dsc.hip`)."""

from __future__ import annotations

import tvm

from dsc import hip
from dsc.errors import ArtifactError, UsageError
from dsc.needs import Facts
from dsc.runtime.devices.separate import SeparateMemory


class Rocm(SeparateMemory):
    """`dsc.runtime.devices.Device`: the first GPU that HIP shows (`HIP_VISIBLE_DEVICES` says which that is)."""

    name = "rocm"

    def __init__(self) -> None:
        super().__init__(tvm.rocm(0))

    def check(self, facts: Facts, target: str, source: str) -> None:
        """The instruction set: code objects are for one alone."""
        wanted = str(facts.get("arch", ""))
        needed = f"{source} was compiled for {target} and needs an AMD GPU of type {wanted}"
        try:
            problem = hip.problem()
        except UsageError as error:
            raise ArtifactError(f"{needed}; {error}") from error
        if problem:
            raise ArtifactError(
                f"{needed}; {problem}. See what rocminfo says, or compile for another target (dsc verify --simulate "
                "needs no GPU)"
            )
        found = hip.architecture()
        if found != wanted:
            raise ArtifactError(
                f"{needed}; the GPU here is {found}: compile the model again with --target rocm:{found}, if dsc "
                "targets lists it"
            )
