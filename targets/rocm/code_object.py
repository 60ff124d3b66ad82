"""Code objects of functions of the device, by TVM's code generator for AMD's GPUs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import tvm
import tvm.support.rocm  # registers TVM's own callbacks, which ours stand before
import tvm_ffi

_LINK = "tvm_callback_rocm_link"
_BITCODE = "tvm_callback_rocm_bitcode_path"
_THREAD = threading.local()
"""`libraries` and `link` while a thread is in `code_object`: others may use TVM for ROCm on their own."""


def code_object(
    module: tvm.IRModule, target: tvm.target.Target, libraries: Sequence[str], link: Callable[[bytes], bytes]
) -> tvm.runtime.Module:
    """The module of functions of the device, which host code imports.

    libraries: files of LLVM's code, as text or bitcode, with what the functions call.
    link: makes the code object of LLVM's object file. Its errors pass.
    """
    _THREAD.libraries, _THREAD.link = libraries, link
    try:
        return tvm.get_global_func("target.build.rocm")(module, target)
    finally:
        del _THREAD.libraries, _THREAD.link


def _register() -> None:
    """Linking as `code_object` is told, and bitcode by what kernels call; TVM's own for others."""
    others_link: Callable[[bytes], bytearray] = tvm.get_global_func(_LINK)
    others_bitcode: Callable[[], Sequence[str]] = tvm.get_global_func(_BITCODE)

    def linked(code: bytes) -> bytearray:
        return bytearray(_THREAD.link(bytes(code))) if hasattr(_THREAD, "link") else others_link(code)

    def bitcode() -> Sequence[str]:
        return _THREAD.libraries if hasattr(_THREAD, "libraries") else others_bitcode()

    tvm_ffi.register_global_func(_LINK, linked, override=True)
    tvm_ffi.register_global_func(_BITCODE, bitcode, override=True)


_register()
