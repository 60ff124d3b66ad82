"""The kernel that takes anything: whatever has a lowering gets loops for it."""

from __future__ import annotations

from dataclasses import dataclass

from tvm import s_tir, tirx

from dsc.lower.nominal import volume
from dsc.lower.workload import Workload
from dsc.targets.cpu.generic.prepare import prepared
from dsc.targets.cpu.generic.schedule import schedule, seconds, worth_a_launch
from dsc.targets.cpu.generic.stages import Stage, element_bits, stages
from dsc.targets.cpu.generic.vectors import vector_axis
from dsc.targets.cpu.machine import Cpu
from dsc.targets.kernel import Implementation, Refusal, Work, roofline

EFFICIENCY = 0.5
"""Of peak: operations are single additions and the like, where the peak is fused multiply-adds."""
CONTRACTION = 5
"""How much longer an operation takes in a sum of products, which wants the register tiles of other kernels."""


MISSES = 3
"""How much longer a scalar operation takes that walks across cache lines."""


@dataclass(frozen=True)
class Automatic:
    """The one point of the generic space: the scheduler decides."""


@dataclass(frozen=True, eq=False)
class GenericSpace:
    """One workload, scheduled stage by stage from its tensor expressions."""

    workload: Workload
    machine: Cpu

    def points(self) -> tuple[Automatic]:
        """One: nothing is left to choose."""
        return (Automatic(),)

    def estimate(self, point: Automatic) -> float:
        """Operations of all stages that are left after inlining, against the bytes of inputs and outputs."""
        found = stages(s_tir.Schedule(self.func))
        operations = sum(_operations(stage, self.machine) for stage in found)
        parameters = [p for p in self.func.params if tirx.is_buffer_var(p)]
        moved = sum(volume(p.shape) * element_bits(p) // 8 for p in parameters)
        parallel = worth_a_launch(seconds(sum(stage.work for stage in found), self.machine), self.machine)
        tasks = 4 * self.machine.cores if parallel else 1
        return roofline(self.machine, Work(operations, moved, tasks=tasks, efficiency=EFFICIENCY))

    def build(self, point: Automatic) -> Implementation:
        """The scheduled function."""
        return Implementation(schedule(self.func, self.machine))

    @property
    def func(self) -> tirx.PrimFunc:
        """Prepared, without a schedule."""
        return prepared(self.workload)


@dataclass(frozen=True)
class GenericKernel:
    """Takes any workload."""

    name: str = "cpu.generic"

    def match(self, workload: Workload, machine: Cpu) -> GenericSpace | Refusal:
        """Always a space; building it raises `UnsupportedOpError` where an op has no lowering."""
        return GenericSpace(workload, machine)


def _operations(stage: Stage, machine: Cpu) -> int:
    """Element operations; those that stay scalars count as if they filled a vector, and missed the cache."""
    scalar = not stage.regular or vector_axis(stage) is None
    contraction = bool(stage.reduce) and len(stage.loads) > 1 and len(stage.spatial) > 1
    return stage.work * (MISSES * machine.lanes() if scalar else 1) * (CONTRACTION if contraction else 1)
