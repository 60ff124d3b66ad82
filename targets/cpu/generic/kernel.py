"""The kernel that takes anything: whatever has a lowering gets loops for it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from tvm import tirx

from dsc.lower.te import lower_body, placeholders, prim_func
from dsc.lower.workload import Workload
from dsc.targets.cpu.generic.schedule import prepared, schedule, worth_a_launch
from dsc.targets.cpu.generic.sizes import volume
from dsc.targets.cpu.generic.stages import element_bits, stages
from dsc.targets.kernel import Implementation, Refusal, Work, roofline
from dsc.targets.machine import Machine


@dataclass(frozen=True)
class Automatic:
    """The one point of the generic space: the scheduler decides."""


@dataclass(frozen=True, eq=False)
class GenericSpace:
    """One workload, scheduled stage by stage from its tensor expressions."""

    workload: Workload
    machine: Machine

    def points(self) -> tuple[Automatic]:
        """One: nothing is left to choose."""
        return (Automatic(),)

    def estimate(self, point: Automatic) -> float:
        """Arithmetic of all stages that are left after inlining, against the bytes of inputs and outputs."""
        work = sum(stage.work for stage in stages(prepared(self.func)))
        moved = sum(volume(p.shape) * element_bits(p) // 8 for p in self.func.params if tirx.is_buffer_var(p))
        tasks = self.machine.cores if worth_a_launch(work, self.machine) else 1
        return roofline(self.machine, Work(work, moved, tasks=tasks, efficiency=0.25))

    def build(self, point: Automatic) -> Implementation:
        """The scheduled function."""
        return Implementation(schedule(self.func, self.machine))

    @cached_property
    def func(self) -> tirx.PrimFunc:
        """Without a schedule."""
        inputs = placeholders(self.workload)
        outputs = lower_body(self.workload, dict(zip(self.workload.inputs, inputs, strict=True)))
        return prim_func(self.workload, inputs, outputs)


@dataclass(frozen=True)
class GenericKernel:
    """Takes any workload."""

    name: str = "cpu.generic"

    def match(self, workload: Workload, machine: Machine) -> GenericSpace | Refusal:
        """Always a space; building it raises `UnsupportedOpError` where an op has no lowering."""
        return GenericSpace(workload, machine)
