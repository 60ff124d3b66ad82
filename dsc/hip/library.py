"""The library: its sources, and how it is compiled."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path

from dsc.cxx import identity, run_compiler, write_sources
from dsc.errors import UsageError
from dsc.files import cache_dir, made_once, scratch_folder
from dsc.installed import RUNTIME_LIBRARIES, TVM, TVM_FFI, installed

LIBRARY = "libdsc_hip.so"
_TVM_HEADERS = {
    "include/tvm/runtime/base.h": "tvm/include/tvm/runtime/base.h",
    "include/tvm/runtime/device_api.h": "tvm/include/tvm/runtime/device_api.h",
    "include/runtime/workspace_pool.h": "tvm/src/runtime/workspace_pool.h",
}
_FFI_HEADERS = "tvm_ffi/include"
_HEADER = "hip/hip_runtime_api.h"
_ROCM, _SYSTEM = Path("/opt/rocm"), Path("/usr")
_FLAGS = (
    *("-std=c++17", "-O2", "-fPIC", "-shared", "-fvisibility=hidden", "-pthread", "-s"),
    *("-Wl,--build-id=none", "-Wl,-rpath,$ORIGIN", f"-Wl,-soname,{LIBRARY}"),
    *("-D__HIP_PLATFORM_AMD__", "-Iinclude"),
)
_UNIT = "unit.cpp"
_ADVICE = f"it needs the headers of HIP 5 or newer ({_HEADER}) and a compiler of C++17"


def find_headers() -> Path:
    """The folder of HIP's headers: ROCm's, or the system's. Raises `UsageError` where there is none."""
    rocm = Path(os.environ.get("ROCM_PATH", _ROCM))
    for folder in (rocm, _SYSTEM):
        if (folder / "include" / _HEADER).is_file():
            return folder / "include"
    raise UsageError(
        f"driving AMD's GPUs needs HIP's headers: {_HEADER} is neither in {rocm}/include (ROCM_PATH names another "
        f"folder) nor in {_SYSTEM}/include; install ROCm, or on Debian and Ubuntu: `apt-get install libamdhip64-dev`"
    )


@cache
def sources() -> Mapping[str, bytes]:
    """Our sources, and TVM's headers, by their places in a folder in which they are compiled with ``-Iinclude``."""
    ours = {f"src/{item.name}": item.read_bytes() for item in (files("dsc.hip") / "native").iterdir() if item.is_file()}
    return dict(sorted({**ours, **dict(_tvm_headers())}.items()))


def _tvm_headers() -> Iterator[tuple[str, bytes]]:
    for name, place in _TVM_HEADERS.items():
        yield name, installed(TVM, place).read_bytes()
    root = installed(TVM_FFI, _FFI_HEADERS)
    for path in root.rglob("*.h"):
        yield f"include/{path.relative_to(root)}", path.read_bytes()


def compile_library(compiler: str) -> Path:
    """The library that `compiler` makes for this host; it is kept in the cache.

    Beside it, or loaded already, it needs TVM's runtime libraries. Raises `UsageError` where HIP's headers are missing
    or the compiler fails.
    """
    headers = find_headers()
    target = cache_dir() / "hip" / _key(compiler, headers) / LIBRARY
    with made_once(target) as aside, scratch_folder() as folder:
        if aside is not None:
            write_sources(folder, sources())
            units = [name for name in sources() if name.endswith(".cpp")]
            # in one piece: headers take most of the time
            (folder / _UNIT).write_text("".join(f'#include "{name}"\n' for name in units))
            needed = [str(installed(*place)) for place in RUNTIME_LIBRARIES.values()]
            command = [compiler, *_FLAGS, "-idirafter", str(headers), _UNIT, "-o", str(aside), *needed, "-ldl"]
            run_compiler(command, folder, f"the library that drives AMD's GPUs ({LIBRARY})", _ADVICE)
    return target


def _key(compiler: str, headers: Path) -> str:
    """Different for all that gives other code."""
    version = (headers / "hip" / "hip_version.h").read_bytes()
    digest = hashlib.sha256(repr((identity(compiler), _FLAGS, str(headers), version)).encode())
    for name, content in sources().items():
        digest.update(repr((name, len(content))).encode() + content)
    return digest.hexdigest()[:32]
