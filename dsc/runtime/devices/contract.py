"""The contract of a device."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import tvm

from dsc.needs import Facts


@dataclass
class Staging:
    """Where a device keeps the copy of an argument for the next one in the same place."""

    tensor: tvm.runtime.Tensor | None = None
    held: tuple[tuple[int, ...], np.dtype[np.generic]] | None = None
    """Shape and type of its elements, which numpy compares faster than TVM."""

    def fitting(self, array: np.ndarray, handle: tvm.runtime.Device) -> tvm.runtime.Tensor:
        """A tensor of the array's shape and type: the one that is kept, if it fits, else a new one, which is kept."""
        if self.tensor is None or self.held != (array.shape, array.dtype):
            self.tensor, self.held = (
                tvm.runtime.empty(array.shape, array.dtype.name, handle),
                (array.shape, array.dtype),
            )
        return self.tensor


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

    @property
    def queues(self) -> bool:
        """Whether a launch returns before its kernel has run, which `synchronize` waits for."""
        ...

    def check(self, facts: Facts, target: str, source: str) -> None:
        """Raises `ArtifactError` where this device is not what `source`, compiled for `target`, needs."""
        ...

    def start(self, library: tvm.runtime.Module, threads: int) -> None:
        """Get a library that was just loaded ready to run, on so many threads of the host."""
        ...

    def put(self, array: np.ndarray, staging: Staging) -> tvm.runtime.Tensor:
        """The elements of `array` as a contiguous tensor that kernels can read: its memory, or a copy in `staging`."""
        ...

    def get(self, tensor: tvm.runtime.Tensor) -> np.ndarray:
        """The elements, once the kernels that write them are done; the tensor's own memory if the host can read it."""
        ...

    def synchronize(self) -> None:
        """Wait until all kernels that were launched are done."""
        ...
