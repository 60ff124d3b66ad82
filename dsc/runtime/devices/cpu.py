"""The host's own processor: kernels read and write the caller's memory, and are done when they return."""

from __future__ import annotations

import platform
from dataclasses import dataclass

import numpy as np
import tvm
import tvm_ffi

from dsc.errors import ArtifactError
from dsc.host import cpu_features
from dsc.needs import Facts
from dsc.runtime.devices.contract import Staging

_START = "dsc_start"
"""The function of a library that starts its threads; absent where it has none of its own."""


@dataclass(frozen=True)
class Cpu:
    """`dsc.runtime.devices.Device` of this host."""

    name: str = "cpu"
    queues: bool = False

    @property
    def handle(self) -> tvm.runtime.Device:
        """TVM's CPU."""
        return tvm.cpu()

    def check(self, facts: Facts, target: str, source: str) -> None:
        """Instruction set and features, named as in /proc/cpuinfo."""
        if platform.machine() != facts.get("arch"):
            raise ArtifactError(
                f"{source} was compiled for {facts.get('arch')} ({target}), this host is "
                f"{platform.machine()}; compile the model again on this host or with --target for it"
            )
        missing = sorted(set(facts.get("features", ())) - cpu_features())
        if missing:
            raise ArtifactError(
                f"{source} was compiled for {target} and needs the CPU features "
                f"{', '.join(missing)}, which this host does not have; compile the model again here"
            )

    def start(self, library: tvm.runtime.Module, threads: int) -> None:
        """Its thread pool, of so many with the caller's."""
        if library.implements_function(_START, query_imports=True):
            library.get_function(_START, query_imports=True)(threads)

    def put(self, array: np.ndarray, staging: Staging) -> tvm.runtime.Tensor:
        """The array itself where kernels can read it: contiguous, aligned to its elements, writeable for DLPack."""
        if array.size == 0:  # it has strides of its own, which TVM refuses
            return tvm.runtime.empty(array.shape, array.dtype.name)
        if array.flags.carray:
            return tvm_ffi.from_dlpack(array)
        tensor = staging.fitting(array, self.handle)
        np.copyto(np.from_dlpack(tensor), array)
        return tensor

    def get(self, tensor: tvm.runtime.Tensor) -> np.ndarray:
        """The tensor's memory."""
        return np.from_dlpack(tensor)

    def synchronize(self) -> None:
        """Nothing is left to wait for when a kernel returns."""
