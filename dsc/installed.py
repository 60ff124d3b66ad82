"""Where files of TVM's packages are, without importing them."""

from __future__ import annotations

from importlib.metadata import distribution
from pathlib import Path

TVM, TVM_FFI = "apache-tvm", "apache-tvm-ffi"
RUNTIME_LIBRARIES = {
    "libtvm_runtime.so": (TVM, "tvm/lib/libtvm_runtime.so"),
    "libtvm_ffi.so": (TVM_FFI, "tvm_ffi/lib/libtvm_ffi.so"),
}
"""In which package a library is, and where."""


def installed(package: str, place: str) -> Path:
    """A file or folder of an installed package."""
    return Path(str(distribution(package).locate_file(place)))
