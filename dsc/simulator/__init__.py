"""Kernels of GPUs executed on the CPU, and watched: for numbers, and for rules of CUDA and of AMD's GPUs, without a
device.

    >>> from dsc.simulator import simulated_cuda
    >>> with simulated_cuda("sm_80", order="reverse") as simulation:
    ...     library = tvm.compile(module, target=tvm.target.Target({"kind": "cuda", "arch": "sm_80"}, host="llvm"))
    ...     library["main"](tvm.runtime.tensor(x, tvm.cuda(0)), y)
    ...     simulation.counters()["main_kernel"].coalescing

docs/simulator.md says what is executed, what is found, and how.
"""

from __future__ import annotations

from dsc.simulator.counters import Counters, Submissions
from dsc.simulator.errors import Fault, KernelError, UnknownInstructionError
from dsc.simulator.image import compile_image
from dsc.simulator.machines import Limits, limits
from dsc.simulator.simulation import (
    Simulation,
    simulated_cuda,
    simulated_environment,
    simulated_kernels,
    simulated_rocm,
)

__all__ = [
    "Counters",
    "Fault",
    "KernelError",
    "Limits",
    "Simulation",
    "Submissions",
    "UnknownInstructionError",
    "compile_image",
    "limits",
    "simulated_cuda",
    "simulated_environment",
    "simulated_kernels",
    "simulated_rocm",
]
