"""Devices with memory of their own, which TVM's runtime drives."""

from __future__ import annotations

import numpy as np
import tvm

from dsc.runtime.devices.contract import Staging


class SeparateMemory:
    """The part of a `dsc.runtime.devices.Device` that copies tensors to and from the host, and waits for kernels, which
    run on after their launch. What is left to say is the name, and what is checked."""

    queues = True

    def __init__(self, handle: tvm.runtime.Device) -> None:
        """`handle`: TVM's name for the device."""
        self.handle = handle

    def start(self, library: tvm.runtime.Module, threads: int) -> None:
        """The host has no loops to share."""

    def put(self, array: np.ndarray, staging: Staging) -> tvm.runtime.Tensor:
        """A copy."""
        tensor = staging.fitting(array, self.handle)
        return tensor.copyfrom(array) if array.size else tensor

    def get(self, tensor: tvm.runtime.Tensor) -> np.ndarray:
        """A copy, once what was launched before is done."""
        copy: np.ndarray = tensor.numpy()
        return copy

    def synchronize(self) -> None:
        """Wait for the stream that kernels are launched on."""
        self.handle.sync()
