"""The library in this process."""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Callable
from functools import cache

from dsc.cxx import find_compiler
from dsc.errors import UsageError
from dsc.hip.library import compile_library


@cache
def load() -> None:
    """Give TVM's runtime the devices ``rocm``, for as long as the process lives; compiled on first use.

    Nothing is asked of HIP yet. Raises `UsageError` where there is no compiler, or HIP's headers are missing.
    """
    import tvm  # noqa: F401 - whose libraries are in the process then

    compiler = find_compiler(platform.machine())
    if compiler is None:
        raise UsageError(
            "driving AMD's GPUs needs a C++ compiler, which compiles what does it: install one (Debian and Ubuntu: "
            "`apt-get install g++`)"
        )
    library = compile_library(compiler)
    try:
        ctypes.CDLL(str(library))
    except OSError as error:
        raise UsageError(f"the library that drives AMD's GPUs does not load: {error}") from error


def problem(number: int = 0) -> str:
    """Why GPU number `number` cannot be used, in words; nothing if it can."""
    return str(_function("dsc.hip.problem")(number))


def architecture(number: int = 0) -> str:
    """The instruction set of a GPU that can be used, without its modes: ``gfx942``."""
    return str(_function("dsc.hip.architecture")(number)).partition(":")[0]


def _function(name: str) -> Callable[[int], object]:
    import tvm_ffi

    load()
    found: Callable[[int], object] = tvm_ffi.get_global_func(name)
    return found
