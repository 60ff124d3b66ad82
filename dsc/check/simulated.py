"""A target whose code runs on a simulated device of this process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from dsc.errors import UsageError
from dsc.simulator import Simulation, simulated_cuda, simulated_rocm
from dsc.targets import AnyTarget
from dsc.targets.cuda import Cuda
from dsc.targets.rocm import Rocm


@contextmanager
def simulated(
    target: AnyTarget, order: str = "forward", *, checks: bool = True
) -> Iterator[tuple[AnyTarget, Simulation]]:
    """The target with code for the simulator, and the device that runs it, while the block lasts.

    order: in which threads run: "forward", "reverse", or a number, the seed of random orders.
    checks: watch every access to memory; without, kernels run several times as fast (see docs/simulator.md).
    Raises UsageError for a target that is not simulated, `dsc.simulator.KernelError` where a kernel breaks a rule.
    """
    kind = int(order) if order.isdecimal() else order
    arch = getattr(target.machine, "arch", "")
    if isinstance(target.family, Cuda):
        with simulated_cuda(arch, order=kind, checks=checks) as simulation:
            yield replace(target, family=Cuda(lambda source, _: simulation.compile(source))), simulation
    elif isinstance(target.family, Rocm):
        with simulated_rocm(arch, order=kind, checks=checks) as simulation:
            yield replace(target, family=Rocm(lambda code, _: simulation.compile(code))), simulation
    else:
        raise UsageError(
            f"{target.name} cannot be simulated: machines of cuda and rocm can, as --target cuda:sm_80 or rocm:gfx942"
        )
