"""The backend of AMD's GPUs: code by LLVM, code objects by lld, and what launches them by the host's backend."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TypeAlias

import tvm
from tvm import te, tirx

from dsc.files import scratch_folder
from dsc.needs import Needs
from dsc.targets.backend import Backend
from dsc.targets.cpu.backend import CpuBackend
from dsc.targets.gpu import graphs
from dsc.targets.gpu.generic.kernel import plain
from dsc.targets.gpu.host import HOST
from dsc.targets.gpu.imports import ROCM, with_images
from dsc.targets.gpu.lowering import devices_part, hosts_part, lower
from dsc.targets.gpu.machine import Gpu
from dsc.targets.gpu.resources import block_threads
from dsc.targets.resources import KernelResources
from dsc.targets.rocm.bitcode import libraries
from dsc.targets.rocm.code_object import code_object
from dsc.targets.rocm.functions import FUNCTIONS
from dsc.targets.rocm.lowering import device_passes
from dsc.targets.rocm.resources import check, kernel_resources, resources
from dsc.targets.rocm.toolchain import find_lld, link
from dsc.targets.rocm.unrolling import by_a_few_steps
from dsc.targets.tir.passes import each

Assemble: TypeAlias = Callable[[str, str], bytes]
"""Makes an image of LLVM's code of kernels, as text, and ``gfx942``; raises what says why it cannot."""


@dataclass(frozen=True)
class RocmBackend:
    """`dsc.targets.Backend` of a GPU, whose host is `host`."""

    machine: Gpu
    host: Backend = field(default_factory=lambda: CpuBackend(HOST))
    """Makes the code that launches kernels, and what runs on the host itself."""
    assemble: Assemble | None = None
    """A simulator's, whose images take the place of code objects. None: code objects, by lld."""
    _images: dict[bytes, bytes] = field(default_factory=dict, repr=False, compare=False)
    """Of all object files of LLVM's so far, which stand for them until `pack`."""

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
        """lld, unless another makes the images, and what the host's code needs."""
        self.host.require_tools()
        if self.assemble is None:
            find_lld()

    def plain(
        self, inputs: Sequence[te.Tensor], scalars: Sequence[tirx.Var], outputs: Sequence[te.Tensor]
    ) -> tirx.PrimFunc:
        """In launches as the generic kernel has them."""
        return plain(inputs, scalars, outputs, self.machine)

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
                made = self._code_object(device, libraries(device, self.machine, folder))
            for used in resources(str(made.inspect_source("asm"))):
                check(used, self.machine)
            code.import_module(made)
        return code

    def _code_object(self, device: tvm.IRModule, found: Sequence[str]) -> tvm.runtime.Module:
        """By lld; or the object file as it is, and an image that takes its place in `pack`."""
        if self.assemble is None:
            return code_object(device, self.target, found, link)
        objects: list[bytes] = []

        def left(code: bytes) -> bytes:
            objects.append(code)
            return code

        made = code_object(device, self.target, found, left)
        self._images[objects[0]] = self.assemble(str(made.inspect_source("llvm")), self.machine.arch)
        return made

    def pack(self, imports: bytes) -> bytes:
        """As it is, in the form that TVM's ROCm runtime loads; with a simulator's images in place of object files."""
        return imports if self.assemble is None else with_images(imports, ROCM, self._images)

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
        """With what captures launches."""
        self.host.link([*objects, *graphs.capture_objects(output.parent, graphs.ROCM)], output)
