"""Kernels of regions as LLVM's code with all that a launch needs, for the simulator alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import tvm
import tvm_ffi
from tvm import tirx

from dsc.codegen.selection import Failures, fastest_by_estimate, select
from dsc.simulator import Simulation
from dsc.targets import target
from dsc.targets.gpu.lowering import devices_part
from dsc.targets.rocm.backend import RocmBackend
from tests.targets.regions import Region

KERNEL = "k_kernel"


@dataclass(frozen=True)
class Launch:
    """Of the one kernel of a region with one output."""

    code: str
    grid: tuple[int, ...]
    block: tuple[int, ...]
    order: tuple[int, ...]
    """For each parameter which array it takes: the inputs in order, then the output."""

    def run(self, simulation: Simulation, code: str, arrays: Sequence[np.ndarray]) -> None:
        """With `code` in place of its own; `arrays` are the inputs and the output, which is written."""
        simulation.launch(code, KERNEL, self.grid, self.block, *(arrays[i] for i in self.order))


def launch(arch: str, region: Region) -> Launch:
    """By the kernel and the point of least estimate."""
    onto = target(f"rocm:{arch}")
    func = select(region.workload(), onto, fastest_by_estimate, Failures()).implementation.func
    backend = RocmBackend(onto.machine)
    lowered = backend.lower(tvm.IRModule({"k": func.with_attr("global_symbol", "k")}))
    ((_, kernel),) = devices_part(lowered, backend.target).functions.items()
    (made,) = backend.generate(lowered).imports
    extents: dict[str, int] = {}

    def note(node: tirx.AttrStmt) -> None:
        if node.attr_key == "thread_extent":
            extents[str(node.node.thread_tag)] = int(node.value)

    tvm_ffi.structural_walk(kernel.body, (tirx.AttrStmt, note))
    grid, block = (tuple(extents.get(f"{each}Idx.{axis}", 1) for axis in "xyz") for each in ("block", "thread"))
    inputs = [f"in{i}_ptr" for i in range(len(region.arrays()))]
    order = [inputs.index(name) if name in inputs else len(inputs) for name in (p.name for p in kernel.params)]
    return Launch(str(made.inspect_source("llvm")), grid, block, tuple(order))
