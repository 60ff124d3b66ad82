"""The GPU of this host, as the driver describes it."""

from __future__ import annotations

from dataclasses import replace

import tvm

from dsc.errors import UsageError
from dsc.targets.cuda.machines import BY_TAG, DEFAULT, MACHINES
from dsc.targets.gpu.machine import Gpu


def native() -> Gpu:
    """The first GPU that the driver shows. Raises `UsageError` where there is none, or one too old."""
    device = tvm.cuda(0)
    if not device.exist:
        raise UsageError(
            "there is no NVIDIA GPU here, or its driver or CUDA's runtime library (libcudart.so.13) cannot be loaded; "
            f"name a machine to compile for another, as cuda:{DEFAULT}"
        )
    machine = closest(str(device.compute_version))
    return replace(
        machine,
        name="cuda:native",
        cores=int(device.multi_processor_count),
        frequency=float(device.max_clock_rate) * 1e3,
        memory_bytes=int(device.total_global_memory or machine.memory_bytes),
    )


def closest(capability: str) -> Gpu:
    """The machine whose code a GPU of that compute capability (``8.6``) runs. Raises `UsageError` where none is."""
    arch = f"sm_{capability.replace('.', '')}"
    if arch in BY_TAG:
        return BY_TAG[arch]
    wanted = number(arch)
    fitting = [machine for machine in MACHINES if number(machine.arch) <= wanted]
    if not fitting:
        raise UsageError(
            f"this GPU has compute capability {capability}; CUDA 13 makes code from 7.5 (cuda:sm_75) on, no older"
        )
    return fitting[-1]


def number(arch: str) -> int:
    """``sm_86`` as 86."""
    return int(arch.removeprefix("sm_"))
