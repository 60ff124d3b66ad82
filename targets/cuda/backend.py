"""The backend of NVIDIA's GPUs: TVM writes CUDA C++, nvcc makes an image of it, the host's backend what launches it."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TypeAlias

import tvm
from tvm import tirx

from dsc.host import FAMILY
from dsc.needs import Needs
from dsc.targets.arm.machines import BY_TAG as ARM
from dsc.targets.backend import ON_HOST, Backend
from dsc.targets.cpu.backend import CpuBackend
from dsc.targets.cuda.functions import FUNCTIONS
from dsc.targets.cuda.imports import with_images
from dsc.targets.cuda.lowering import device_passes, host_passes, kernel_passes
from dsc.targets.cuda.toolchain import assemble, find_nvcc
from dsc.targets.gpu.generic.threaded import threaded
from dsc.targets.gpu.machine import Gpu
from dsc.targets.x86.machines import BY_TAG as X86

Assemble: TypeAlias = Callable[[str, str], bytes]
"""Makes an image that CUDA's driver loads of a kernel's source and ``sm_80``; raises what says why it cannot."""
HOST = ARM["armv8-a"] if FAMILY == "arm" else X86["x86-64-v2"]
"""The least of the host's family: nothing is computed there, and so the artifact runs beside a GPU in whatever host."""
UNROLLED_LATER = {"tirx.UnrollLoop": {"explicit_unroll": False}}
"""By nvcc, which is told to: the code stays short."""
_FALLBACK = "TVM_COMPILE_FORCE_FALLBACK"
_LOCK = threading.Lock()


@dataclass(frozen=True)
class CudaBackend:
    """`dsc.targets.Backend` of a GPU, whose host is `host`."""

    machine: Gpu
    host: Backend = field(default_factory=lambda: CpuBackend(HOST))
    """Makes the code that launches kernels, and what runs on the host itself."""
    assemble: Assemble = assemble
    _images: dict[str, bytes] = field(default_factory=dict, repr=False, compare=False)
    """Of all sources so far."""

    @property
    def needs(self) -> tuple[Needs, ...]:
        """What the host's code needs, and the instruction set."""
        return (*self.host.needs, Needs("cuda", {"arch": self.machine.arch}))

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

    def plain(self, func: tirx.PrimFunc) -> tirx.PrimFunc:
        """Each element a thread's; what is no loop over elements one thread's."""
        return threaded(func, self.machine)

    def lower(self, module: tvm.IRModule) -> tvm.IRModule:
        """Functions of tensors in the host's memory, or of none, are the host's."""
        on_host = {name for name, func in module.functions.items() if _is_hosts(func)}
        lowered = tvm.IRModule({})
        if on_host:
            lowered.update(self.host.lower(tvm.IRModule({name: module[name] for name in on_host})))
        kernels = {name: func for name, func in module.functions.items() if name not in on_host}
        if kernels:
            with self.target, tvm.transform.PassContext(opt_level=3, config=UNROLLED_LATER):
                split = tirx.transform.BindTarget(self.target)(tvm.IRModule(kernels))
                split = kernel_passes(FUNCTIONS)(split)
                lowered.update(host_passes()(_of_kind(split, device=False)))
                lowered.update(device_passes()(_of_kind(split, device=True)))
        return lowered

    def generate(self, lowered: tvm.IRModule) -> tvm.runtime.Module:
        code = self.host.generate(_of_kind(lowered, device=False))
        device = _of_kind(lowered, device=True)
        if len(device.functions):
            made = _source_module(device, self.target)
            source = str(made.inspect_source("cuda"))
            self._images[source] = self.assemble(source, self.machine.arch)
            code.import_module(made)
        return code

    def pack(self, imports: bytes) -> bytes:
        """The images of what `generate` made, in place of its source."""
        return with_images(imports, self._images)

    def assembly(self, code: tvm.runtime.Module) -> str:
        """CUDA C++."""
        return "\n".join(str(module.inspect_source("cuda")) for module in code.imports)

    def link(self, objects: Sequence[Path], output: Path) -> None:
        self.host.link(objects, output)


def _is_hosts(func: tirx.PrimFunc) -> bool:
    """Whether a function is marked as the host's, or has no tensors."""
    marked = bool(func.attrs) and (ON_HOST in func.attrs or "tirx.is_host_func" in func.attrs)
    return marked or not any(tirx.is_buffer_var(parameter) for parameter in func.params)


def _of_kind(module: tvm.IRModule, *, device: bool) -> tvm.IRModule:
    """The functions of the device, or the others."""
    found = {
        name: func for name, func in module.functions.items() if (func.attrs["target"].kind.name == "cuda") == device
    }
    return tvm.IRModule(found, attrs=module.attrs)


def _source_module(module: tvm.IRModule, target: tvm.target.Target) -> tvm.runtime.Module:
    """CUDA C++ of functions of the device. TVM would have it compiled at once where its CUDA runtime is loaded."""
    with _LOCK, _kept_as_source():
        return tvm.get_global_func("target.build.cuda")(module, target)


@contextmanager
def _kept_as_source() -> Iterator[None]:
    before = os.environ.get(_FALLBACK)
    os.environ[_FALLBACK] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_FALLBACK]
        else:
            os.environ[_FALLBACK] = before
