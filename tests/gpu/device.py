"""The GPU of this host, where tests otherwise have a simulated one."""

from __future__ import annotations

from typing import Protocol

import pytest
import tvm

from dsc.simulator import Counters, Fault
from dsc.simulator.tvm_runtime import load_cuda as simulator
from dsc.targets.cuda.host import native
from dsc.targets.cuda.toolchain import assemble


class Device(Protocol):
    """What tests of kernels ask of a device, simulated or not."""

    arch: str

    def compile(self, source: str) -> bytes: ...
    def faults(self) -> list[Fault]: ...
    def counters(self) -> dict[str, Counters]: ...


class RealDevice:
    """The first GPU that the driver shows; a `Device`."""

    def __init__(self) -> None:
        self.arch = native().arch

    def compile(self, source: str) -> bytes:
        """By nvcc."""
        return assemble(source, self.arch).image

    def faults(self) -> list[Fault]:
        """None: a device that notices an error raises where it is synchronized, which is here at the latest."""
        tvm.cuda(0).sync()
        return []

    def counters(self) -> dict[str, Counters]:
        """Ends the test: what comes after this is of what the simulator counts."""
        pytest.skip("the results are right; the rest is of counters, which a device does not have")


def real_device() -> RealDevice:
    """The GPU of this host; skips the test that asks for it where there is none."""
    if simulator.cache_info().currsize:
        pytest.skip("this process has simulated a device, and cannot use a real one: run `make gpu`")
    if not tvm.cuda(0).exist:
        pytest.skip("no CUDA device")
    return RealDevice()
