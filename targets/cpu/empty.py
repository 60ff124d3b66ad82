"""Workloads whose results have no elements: there is nothing to compute."""

from __future__ import annotations

from dataclasses import dataclass

from tvm import tirx

from dsc.ir import dims_of
from dsc.lower.exprs import same
from dsc.lower.te import lowered
from dsc.lower.workload import Workload
from dsc.targets.cpu.machine import Cpu
from dsc.targets.kernel import Implementation, Refusal


@dataclass(frozen=True)
class Nothing:
    """The one point."""


@dataclass(frozen=True)
class EmptySpace:
    """A function that returns at once."""

    params: tuple[tirx.Var, ...]

    def points(self) -> tuple[Nothing]:
        """One."""
        return (Nothing(),)

    def estimate(self, point: Nothing) -> float:
        """No time at all: no other kernel is as fast."""
        return 0.0

    def build(self, point: Nothing) -> Implementation:
        """The code."""
        func = tirx.PrimFunc(self.params, tirx.Evaluate(0))
        return Implementation(func.with_attrs({"s_tir": True, "tirx.noalias": True}))


@dataclass(frozen=True)
class Empty:
    """Anything with a static size of 0 in each of its results."""

    name: str = "cpu.empty"

    def match(self, workload: Workload, machine: Cpu) -> EmptySpace | Refusal:
        """The space, or that there are elements."""
        if any(0 not in (dims_of(output.type) or (0,)) for output in workload.outputs):
            return Refusal("a result has elements")
        body = lowered(workload)
        if not all(any(same(size, 0) for size in output.shape) for output in body.outputs):  # the types did not tell
            return Refusal("a result has elements")
        given, made = (
            [tirx.decl_buffer(tensor.shape, tensor.dtype, f"{name}{i}") for i, tensor in enumerate(tensors)]
            for name, tensors in (("in", body.inputs), ("out", body.outputs))
        )
        return EmptySpace((*given, *workload.scalars, *made))
