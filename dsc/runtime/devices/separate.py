"""Devices with memory of their own, which TVM's runtime drives."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
import tvm

from dsc.needs import Facts


class SeparateMemory(ABC):
    """A base of `dsc.runtime.devices.Device` whose tensors are copied to and from the host, and whose kernels run on
    after their launch."""

    name: str

    @property
    @abstractmethod
    def handle(self) -> tvm.runtime.Device:
        """TVM's name for it."""

    @abstractmethod
    def check(self, facts: Facts, target: str, source: str) -> None:
        """Raises `ArtifactError` where this device is not what `source`, compiled for `target`, needs."""

    def start(self, library: tvm.runtime.Module, threads: int) -> None:
        """The host has no loops to share."""

    def put(self, array: np.ndarray, staging: tvm.runtime.Tensor | None) -> tvm.runtime.Tensor:
        """A copy."""
        if staging is None or tuple(staging.shape) != array.shape:
            staging = tvm.runtime.empty(array.shape, array.dtype.name, self.handle)
        return staging.copyfrom(np.ascontiguousarray(array)) if array.size else staging

    def get(self, tensor: tvm.runtime.Tensor) -> np.ndarray:
        """A copy, once what was launched before is done."""
        return tensor.numpy()

    def synchronize(self) -> None:
        """Wait for the stream that kernels are launched on."""
        self.handle.sync()
