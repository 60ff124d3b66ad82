"""The GPU of this host, NVIDIA's or AMD's, where tests otherwise have a simulated one."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import Protocol

import pytest
import tvm

from dsc import hip
from dsc.errors import UsageError
from dsc.simulator import Counters, Fault
from dsc.simulator.amd import compile_image
from dsc.simulator.tvm_runtime import load_cuda, load_rocm
from dsc.targets import AnyTarget, target
from dsc.targets.rocm import Rocm

STAND_IN = "DSC_SIMULATED_DEVICE"
"""The variable by which a process has the stand-in for HIP's library in its place: see `tests.gpu.__main__`."""


class Device(Protocol):
    """What tests of kernels ask of a device, simulated (`dsc.simulator.Simulation`) or not."""

    @property
    def arch(self) -> str: ...
    def faults(self) -> list[Fault]: ...
    def counters(self) -> dict[str, Counters]: ...


@dataclass(frozen=True)
class RealDevice:
    """The first GPU that the driver shows; a `Device`."""

    target: AnyTarget
    """What is compiled for it."""
    handle: tvm.runtime.Device

    @property
    def arch(self) -> str:
        """``sm_80``, ``gfx942``."""
        return str(self.target.machine.arch)

    def faults(self) -> list[Fault]:
        """None: a device that notices an error raises where it is synchronized, which is here at the latest."""
        self.handle.sync()
        return []

    def counters(self) -> dict[str, Counters]:
        """Ends the test: what comes after this is of what the simulator counts."""
        pytest.skip("the results are right; the rest is of counters, which a device does not have")


def real_device() -> RealDevice:
    """The GPU of this host; skips the test that asks for it where there is none."""
    if load_cuda.cache_info().currsize or load_rocm.cache_info().currsize:
        pytest.skip("this process has simulated a device, and cannot use a real one: run `make gpu`")
    if STAND_IN in os.environ:
        return _stand_in()
    if tvm.cuda(0).exist:
        return RealDevice(target("cuda:native"), tvm.cuda(0))
    if problem := _problem_of_hip():
        pytest.skip(f"no CUDA device, and no GPU of AMD's: {problem}")
    return RealDevice(target("rocm:native"), tvm.rocm(0))


def _problem_of_hip() -> str:
    """Why no GPU of AMD's can be used; nothing if one can."""
    try:
        return hip.problem()
    except UsageError as error:
        return str(error)


def _stand_in() -> RealDevice:
    """The device ``rocm`` on the stand-in for libamdhip64, which runs images of the simulator's, not code objects."""
    assert not hip.problem(), hip.problem()
    simulated = Rocm(lambda code, arch: compile_image(code, arch, checks=False))
    return RealDevice(replace(target(f"rocm:{hip.architecture()}"), family=simulated), tvm.rocm(0))
