"""Regions compiled for AMD's GPUs, as in a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import tvm

from dsc.codegen.objects import compile_kernels
from dsc.codegen.selection import Failures, fastest_by_estimate, select
from dsc.targets import target
from dsc.targets.gpu.machine import Gpu
from dsc.targets.kernel import Implementation
from dsc.targets.rocm.backend import RocmBackend
from dsc.targets.rocm.machines import BY_TAG
from dsc.targets.rocm.resources import Resources, resources
from tests.targets.regions import Region


@dataclass(frozen=True)
class Compiled:
    """Kernels in one code object."""

    kernels: list[str]
    """The kernel of dsc's that each region was given to."""
    assembly: str
    llvm: str

    @property
    def used(self) -> tuple[Resources, ...]:
        return resources(self.assembly)


def machine(arch: str) -> Gpu:
    """The GPU of that instruction set."""
    return BY_TAG[arch]


def compiled(arch: str, texts: Sequence[str]) -> Compiled:
    """Each region by the kernel that is estimated to be the fastest."""
    chosen = [
        select(Region(text).workload(), target(f"rocm:{arch}"), fastest_by_estimate, Failures()) for text in texts
    ]
    return of_implementations(
        arch, [found.implementation for found in chosen], [found.candidate.kernel.name for found in chosen]
    )


def of_implementations(arch: str, found: Sequence[Implementation], kernels: Sequence[str] = ()) -> Compiled:
    """These kernels, in one code object."""
    backend = RocmBackend(machine(arch))
    functions = {f"k{i}": each.func.with_attr("global_symbol", f"k{i}") for i, each in enumerate(found)}
    code = compile_kernels(tvm.IRModule(functions), backend)
    (made,) = code.imports
    return Compiled(list(kernels), backend.assembly(code), str(made.inspect_source("llvm")))
