"""The backend of AMD's GPUs: code by LLVM, code objects by lld, and what launches them by the host's backend."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import tvm
from tvm import tirx

from dsc.files import scratch_folder
from dsc.needs import Needs
from dsc.targets.backend import Backend
from dsc.targets.cpu.backend import CpuBackend
from dsc.targets.gpu.generic.threaded import threaded
from dsc.targets.gpu.host import HOST
from dsc.targets.gpu.lowering import devices_part, hosts_part, lower
from dsc.targets.gpu.machine import Gpu
from dsc.targets.gpu.resources import block_threads
from dsc.targets.resources import KernelResources
from dsc.targets.rocm.bitcode import libraries
from dsc.targets.rocm.code_object import code_object
from dsc.targets.rocm.functions import FUNCTIONS
from dsc.targets.rocm.lowering import device_passes
from dsc.targets.rocm.resources import check, kernel_resources, resources
from dsc.targets.rocm.toolchain import find_lld
from dsc.targets.rocm.unrolling import by_a_few_steps
from dsc.targets.tir.passes import each


@dataclass(frozen=True)
class RocmBackend:
    """`dsc.targets.Backend` of a GPU, whose host is `host`."""

    machine: Gpu
    host: Backend = field(default_factory=lambda: CpuBackend(HOST))
    """Makes the code that launches kernels, and what runs on the host itself."""

    @property
    def needs(self) -> tuple[Needs, ...]:
        """What the host's code needs, and the instruction set."""
        return (*self.host.needs, Needs("rocm", {"arch": self.machine.arch}))

    @cached_property
    def target(self) -> tvm.target.Target:
        """ROCm's, with the host."""
        config = {
            "kind": "rocm",
            "mcpu": self.machine.arch,
            "max_threads_per_block": self.machine.max_threads,
            "max_num_threads": self.machine.max_threads,
            "max_shared_memory_per_block": self.machine.shared_bytes,
            "thread_warp_size": self.machine.warp,
        }
        return tvm.target.Target(config, host=self.host.target)

    def require_tools(self) -> None:
        """lld, and what the host's code needs."""
        self.host.require_tools()
        find_lld()

    def plain(self, func: tirx.PrimFunc) -> tirx.PrimFunc:
        """Each element a thread's; what is no loop over elements one thread's."""
        return threaded(func, self.machine)

    def lower(self, module: tvm.IRModule) -> tvm.IRModule:
        """Loops are unrolled here: LLVM is not told to."""
        module = each(by_a_few_steps, "dsc.by_a_few_steps")(module)
        with self.target, tvm.transform.PassContext(opt_level=3):
            return lower(module, self.target, self.host, FUNCTIONS, device_passes())

    def generate(self, lowered: tvm.IRModule) -> tvm.runtime.Module:
        code = self.host.generate(hosts_part(lowered, self.target))
        device = devices_part(lowered, self.target)
        if len(device.functions):
            with scratch_folder() as folder:
                made = code_object(device, self.target, libraries(device, self.machine, folder))
            for used in resources(str(made.inspect_source("asm"))):
                check(used, self.machine)
            code.import_module(made)
        return code

    def pack(self, imports: bytes) -> bytes:
        """As it is: TVM serializes code objects in the form that its ROCm runtime loads."""
        return imports

    def assembly(self, code: tvm.runtime.Module) -> str:
        """AMD's instructions."""
        return "\n".join(str(module.inspect_source("asm")) for module in code.imports)

    def resources(self, lowered: tvm.IRModule, code: tvm.runtime.Module) -> tuple[KernelResources, ...]:
        """By the metadata of the code object, in its assembly."""
        device = devices_part(lowered, self.target)
        if not len(device.functions):
            return ()
        return kernel_resources(self.assembly(code), self.machine, block_threads(device))

    def link(self, objects: Sequence[Path], output: Path) -> None:
        self.host.link(objects, output)
