"""Kernels of regions as LLVM's code with all that a launch needs, for the simulator alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import tvm
import tvm_ffi
from tvm import tirx

from dsc.codegen.selection import Failures, fastest_by_estimate, select
from dsc.simulator import Simulation
from dsc.simulator.amd.ir import parse
from dsc.targets import Kernel, target
from dsc.targets.gpu.lowering import devices_part
from dsc.targets.gpu.machine import Gpu
from dsc.targets.rocm.backend import RocmBackend
from tests.targets.regions import Region, implement

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


def launch(arch: str, region: Region, kernel: Kernel[Gpu] | None = None) -> Launch:
    """By the kernel of least estimate, or that one, and its point of least estimate."""
    onto = target(f"rocm:{arch}")
    if kernel is None:
        func = select(region.workload(), onto, fastest_by_estimate, Failures()).implementation.func
    else:
        func = implement(kernel, region, onto.machine).func
    backend = RocmBackend(onto.machine)
    lowered = backend.lower(tvm.IRModule({"k": func.with_attr("global_symbol", "k")}))
    ((_, on_device),) = devices_part(lowered, backend.target).functions.items()
    (made,) = backend.generate(lowered).imports
    extents: dict[str, int] = {}

    def note(node: tirx.AttrStmt) -> None:
        if node.attr_key == "thread_extent":
            extents[str(node.node.thread_tag)] = int(node.value)

    tvm_ffi.structural_walk(on_device.body, (tirx.AttrStmt, note))
    grid, block = (tuple(extents.get(f"{each}Idx.{axis}", 1) for axis in "xyz") for each in ("block", "thread"))
    code = str(made.inspect_source("llvm"))
    return Launch(code, grid, block, tuple(_order(code, [p.name for p in on_device.params], len(region.arrays()))))


def _order(code: str, names: Sequence[str], inputs: int) -> Iterator[int]:
    """Which array each parameter takes; of those without a name LLVM has found out which is only read."""
    kernel = next(function for function in parse(code).functions if function.is_kernel)
    known = {f"in{i}_ptr": i for i in range(inputs)}
    others = iter([i for name, i in known.items() if name not in names])
    for name, parameter in zip(names, kernel.parameters, strict=True):
        yield known[name] if name in known else next(others) if "readonly" in parameter else inputs
