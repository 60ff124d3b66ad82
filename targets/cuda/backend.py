"""The backend of NVIDIA's GPUs: TVM writes CUDA C++, nvcc makes an image of it, the host's backend what launches it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TypeAlias

import tvm
from tvm import te, tirx

from dsc import environment
from dsc.needs import Needs
from dsc.targets.backend import Backend
from dsc.targets.cpu.backend import CpuBackend
from dsc.targets.cuda.functions import FUNCTIONS
from dsc.targets.cuda.lowering import device_passes
from dsc.targets.cuda.resources import resources
from dsc.targets.cuda.toolchain import Assembled, assemble, find_nvcc, is_specific, specific
from dsc.targets.gpu import graphs
from dsc.targets.gpu.generic.kernel import plain
from dsc.targets.gpu.host import HOST
from dsc.targets.gpu.imports import CUDA, with_images
from dsc.targets.gpu.lowering import devices_part, hosts_part, lower
from dsc.targets.gpu.machine import Gpu
from dsc.targets.gpu.resources import block_threads, dynamic_shared_bytes
from dsc.targets.resources import KernelResources

Assemble: TypeAlias = Callable[[str, str], "bytes | Assembled"]
"""Makes an image that CUDA's driver loads of a kernel's source and ``sm_80``, with what it has to say of it, if
anything; raises what says why it cannot."""
UNROLLED_LATER = {"tirx.UnrollLoop": {"explicit_unroll": False}}
"""By nvcc, which is told to: the code stays short."""
_FALLBACK = "TVM_COMPILE_FORCE_FALLBACK"


@dataclass(frozen=True)
class CudaBackend:
    """`dsc.targets.Backend` of a GPU, whose host is `host`."""

    machine: Gpu
    host: Backend = field(default_factory=lambda: CpuBackend(HOST))
    """Makes the code that launches kernels, and what runs on the host itself."""
    assemble: Assemble = assemble
    _images: dict[bytes, bytes] = field(default_factory=dict, repr=False, compare=False)
    """Of all sources so far."""
    _said: dict[str, str] = field(default_factory=dict, repr=False, compare=False)
    """What nvcc had to say of them."""
    _specific: set[bytes] = field(default_factory=set, repr=False, compare=False)
    """Sources of what was packed whose images only GPUs of this very architecture run."""

    @property
    def needs(self) -> tuple[Needs, ...]:
        """What the host's code needs, and the instruction set: ``sm_90a``, not ``sm_90``, where what was packed has
        instructions that only this architecture has."""
        arch = specific(self.machine.arch) if self._specific else self.machine.arch
        return (*self.host.needs, Needs("cuda", {"arch": arch}))

    @cached_property
    def target(self) -> tvm.target.Target:
        """CUDA's, with the host."""
        config = {
            "kind": "cuda",
            "arch": self.machine.arch,
            "max_threads_per_block": self.machine.max_threads,
            "max_shared_memory_per_block": self.machine.shared_bytes,
            "thread_warp_size": self.machine.warp,
        }
        return tvm.target.Target(config, host=self.host.target)

    def require_tools(self) -> None:
        """nvcc, unless another makes the images, and what the host's code needs."""
        self.host.require_tools()
        if self.assemble is assemble:
            find_nvcc()

    def plain(
        self, inputs: Sequence[te.Tensor], scalars: Sequence[tirx.Var], outputs: Sequence[te.Tensor]
    ) -> tirx.PrimFunc:
        """In launches as the generic kernel has them."""
        return plain(inputs, scalars, outputs, self.machine)

    def lower(self, module: tvm.IRModule) -> tvm.IRModule:
        """Functions of tensors in the host's memory, or of none, are the host's."""
        with self.target, tvm.transform.PassContext(opt_level=3, config=UNROLLED_LATER):
            return lower(module, self.target, self.host, FUNCTIONS, device_passes())

    def generate(self, lowered: tvm.IRModule) -> tvm.runtime.Module:
        code = self.host.generate(hosts_part(lowered, self.target))
        device = devices_part(lowered, self.target)
        if len(device.functions):
            made = _source_module(device, self.target)
            source = str(made.inspect_source("cuda"))
            arch = specific(self.machine.arch) if is_specific(source) else self.machine.arch
            assembled = self.assemble(source, arch)
            if isinstance(assembled, Assembled):
                self._said[source] = assembled.said
            self._images[source.encode()] = assembled.image if isinstance(assembled, Assembled) else assembled
            code.import_module(made)
        return code

    def pack(self, imports: bytes) -> bytes:
        """The images of what `generate` made, in place of its source."""
        self._specific.clear()
        self._specific.update(source for source in self._images if is_specific(source.decode()) and source in imports)
        return with_images(imports, CUDA, self._images)

    def assembly(self, code: tvm.runtime.Module) -> str:
        """CUDA C++."""
        return "\n".join(str(module.inspect_source("cuda")) for module in code.imports)

    def resources(self, lowered: tvm.IRModule, code: tvm.runtime.Module) -> tuple[KernelResources, ...]:
        """By ptxas; none where another made the image."""
        said = "".join(self._said.get(str(module.inspect_source("cuda")), "") for module in code.imports)
        device = devices_part(lowered, self.target)
        return resources(said, self.machine, block_threads(device), dynamic_shared_bytes(device)) if said else ()

    def link(self, objects: Sequence[Path], output: Path) -> None:
        """With what captures launches."""
        self.host.link([*objects, *graphs.capture_objects(output.parent, graphs.CUDA)], output)


def _source_module(module: tvm.IRModule, target: tvm.target.Target) -> tvm.runtime.Module:
    """CUDA C++ of functions of the device. TVM would have it compiled at once where its CUDA runtime is loaded."""
    with environment.changed(_FALLBACK, "1"):
        return tvm.get_global_func("target.build.cuda")(module, target)
