"""Where kernels run: what checks that an artifact fits, holds its tensors, and waits for results."""

from __future__ import annotations

from dsc.runtime.devices.contract import Device, Staging
from dsc.runtime.devices.needed import needed_device
from dsc.runtime.devices.registry import device, register_device
from dsc.runtime.devices.separate import SeparateMemory

__all__ = ["Device", "SeparateMemory", "Staging", "device", "needed_device", "register_device"]
