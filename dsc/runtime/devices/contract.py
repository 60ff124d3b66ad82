"""The contract of a device."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import tvm

from dsc.needs import Facts


class Device(Protocol):
    """A processor with the memory that its kernels read and write. Threads may use it at once."""

    @property
    def name(self) -> str:
        """As artifacts name it: ``cpu``."""
        ...

    @property
    def handle(self) -> tvm.runtime.Device:
        """TVM's name for it."""
        ...

    def check(self, facts: Facts, target: str, source: str) -> None:
        """Raises `ArtifactError` where this device is not what `source`, compiled for `target`, needs."""
        ...

    def start(self, library: tvm.runtime.Module, threads: int) -> None:
        """Get a library that was just loaded ready to run, on so many threads of the host."""
        ...

    def put(self, array: np.ndarray, staging: tvm.runtime.Tensor | None) -> tvm.runtime.Tensor:
        """A contiguous tensor that kernels can read, of the elements of `array`; it may be the array's own memory.

        `staging` is what this gave for an earlier array of the same place, to be written over if it fits.
        """
        ...

    def get(self, tensor: tvm.runtime.Tensor) -> np.ndarray:
        """The elements, once the kernels that write them are done; the tensor's own memory if the host can read it."""
        ...

    def synchronize(self) -> None:
        """Wait until all kernels that were launched are done."""
        ...
