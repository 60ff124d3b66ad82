"""TVM's runtime for CUDA, and dsc's for ROCm, on top of the stand-ins, whether tvm is imported already or not."""

from __future__ import annotations

import ctypes
import re
from functools import cache
from pathlib import Path

from dsc import hip
from dsc.errors import UsageError
from dsc.simulator.core import Core, core
from dsc.simulator.toolchain import core_folder

_LIBRARY = "libtvm_runtime_cuda.so"
_HIP_STAND_IN = "libamdhip64.so.6"
_CUDA = re.compile(r"/lib(?:cuda|cudart)\.so[.\d]*$")
_HIP = re.compile(r"/libamdhip64\.so[.\d]*$")


@cache
def load_cuda() -> Core:
    """The core, with TVM's runtime for CUDA loaded on top of it; for as long as the process lives.

    tvm looks for that library when it is imported, and goes on without it where CUDA is missing. A library that could
    not be loaded is not there, so it is loaded here for the first time, when the stand-ins have the names that it
    needs. Raises `UsageError` where the process has the real CUDA: the two cannot be in one.
    """
    _refuse_real(_CUDA, "CUDA")
    simulator = core()
    import tvm

    path = Path(tvm.__file__).parent / "lib" / _LIBRARY
    if not path.exists():
        raise UsageError(f"this tvm has no runtime for CUDA: {path} is not there; install apache-tvm from PyPI")
    try:
        ctypes.CDLL(str(path), ctypes.RTLD_GLOBAL)
    except OSError as error:
        raise UsageError(f"TVM's runtime for CUDA does not load in the simulator: {error}") from error
    return simulator


@cache
def load_rocm() -> Core:
    """The core, with the devices ``rocm`` of dsc's library on top of it; for as long as the process lives.

    Raises `UsageError` where that library cannot be made, or the process has the real HIP.
    """
    _refuse_real(_HIP, "HIP")
    simulator = core()
    ctypes.CDLL(str(core_folder() / _HIP_STAND_IN))
    hip.load()
    return simulator


def _refuse_real(libraries: re.Pattern[str], name: str) -> None:
    real = sorted(path for path in _loaded() if libraries.search(path) and not path.startswith(str(core_folder())))
    if real:
        raise UsageError(
            f"this process has loaded the real {name} ({', '.join(real)}), and cannot simulate one as well: simulate "
            "in a process that has no access to the device and its libraries"
        )


def _loaded() -> set[str]:
    """The files that are mapped into this process."""
    lines = Path("/proc/self/maps").read_text().splitlines()
    return {parts[5] for line in lines if len(parts := line.split(maxsplit=5)) == 6}
