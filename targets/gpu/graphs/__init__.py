"""Runs of a model as one graph of launches: C that is linked into the library of every model for a GPU.

`capture.c` says how. It calls CUDA's runtime, or HIP's, by the functions that both have (`driver.h`), and is the same
for programs in Python and those that run a bundle.
"""

from __future__ import annotations

from pathlib import Path

from dsc.installed import TVM_FFI, installed
from dsc.targets.cpu.link import HOST, compiled

CUDA: tuple[str, ...] = ()
ROCM: tuple[str, ...] = ("-DDSC_ROCM",)
"""What tells the code whose functions to call."""
_SOURCES = ("capture.c", "driver.c", "kept.c", "scratch.c")
_HEADERS = "tvm_ffi/include"


def capture_objects(folder: Path, vendor: tuple[str, ...]) -> list[Path]:
    """The object files, written to `folder`. Raises `UsageError` where there is no C compiler, or it fails."""
    flags = (f"-I{installed(TVM_FFI, _HEADERS)}", *vendor)
    paths = [folder / f"graphs_{source.removesuffix('.c')}.o" for source in _SOURCES]
    for path, source in zip(paths, _SOURCES, strict=True):
        path.write_bytes(compiled(__name__, source, HOST, flags))
    return paths
