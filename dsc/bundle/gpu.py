"""What a bundle for a GPU has beside that for a CPU: the library that drives it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from dsc import hip
from dsc.bundle.artifact import GpuNeed
from dsc.errors import UsageError
from dsc.installed import TVM, installed

CUDA_LIBRARY = "libtvm_runtime_cuda.so"
LIBRARIES = (hip.LIBRARY, CUDA_LIBRARY)
_HIP = "hip"
"""The folder of the sources of AMD's."""


@cache
def hip_sources() -> Mapping[str, bytes]:
    """What the library for AMD's GPUs is built of, by its places in a bundle; all but HIP's own headers."""
    return {f"{_HIP}/{name}": content for name, content in hip.sources().items()}


def gpu_files(gpu: GpuNeed, compiler: str | None) -> dict[str, bytes]:
    """The library that drives a GPU, by its place in a bundle, and its sources where they are ours.

    compiler: makes it; None where there is none for the processor, so that it has to be built there.
    Raises `UsageError` where it cannot be made, or TVM has none.
    """
    if gpu.device == "rocm":
        made = {} if compiler is None else {hip.LIBRARY: hip.compile_library(compiler).read_bytes()}
        return {**hip_sources(), **made}
    library = installed(TVM, f"tvm/lib/{CUDA_LIBRARY}")
    if not library.exists():
        raise UsageError(f"this tvm has no runtime for CUDA: {library} is not there; install apache-tvm from PyPI")
    return {CUDA_LIBRARY: library.read_bytes()}
