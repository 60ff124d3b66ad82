"""What makes a code object of LLVM's output: lld, and AMD's library of functions where a kernel calls some of those."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import tvm_ffi

from dsc import environment
from dsc.errors import DscError, UsageError
from dsc.files import scratch_folder

LINKERS = ("ld.lld", *(f"ld.lld-{version}" for version in range(22, 14, -1)))
"""As distributions call it."""
ROCM = Path("/opt/rocm")
"""Where AMD's packages are."""
SYSTEM = Path("/usr/lib")
"""Where distributions have theirs, in a folder for each kind of machine."""


@tvm_ffi.register_error
class LinkerError(DscError):
    """lld refuses a code object. (Registered, it passes through TVM's code generator.)"""


def find_lld() -> Path:
    """lld, on PATH or in ROCm. Raises `UsageError` where there is none."""
    found = next(filter(None, map(shutil.which, LINKERS)), None) or shutil.which(
        "ld.lld", path=str(_rocm() / "llvm" / "bin")
    )
    if found is None:
        raise UsageError(
            "compiling for rocm needs LLVM's linker, ld.lld, which is neither on PATH nor in ROCm's folder "
            f"({_rocm()}, or what ROCM_PATH says); install it, as: apt install lld-19"
        )
    return Path(found)


def link(code: bytes) -> bytes:
    """The code object that HIP loads, of an object file of LLVM's.

    Raises `LinkerError`, which names what is missing, where something is.
    """
    with scratch_folder() as folder:
        given, linked = folder / "kernel.o", folder / "kernel.hsaco"
        given.write_bytes(code)
        command = [str(find_lld()), "--no-undefined", "-shared", "-o", str(linked), str(given)]
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", check=False, env=environment.copied()
        )
        if done.returncode:
            raise LinkerError(f"ld.lld refuses the kernel: {done.stderr.strip()[:2000] or 'no reason given'}")
        return linked.read_bytes()


def find_ocml(called: str) -> Path:
    """AMD's library of functions as LLVM's bitcode. Raises `UsageError`, which names the function that is called, where
    it is not."""
    folders = [_rocm(), *sorted(SYSTEM.glob("*-linux-*"))]
    for folder in folders:
        if (found := folder / "amdgcn" / "bitcode" / "ocml.bc").exists():
            return found
    raise UsageError(
        f"{called} is a function of AMD's device library, and there is no amdgcn/bitcode/ocml.bc in ROCm's folder "
        f"({_rocm()}, or what ROCM_PATH says) nor in the system's; install it, as: apt install rocm-device-libs"
    )


def _rocm() -> Path:
    return Path(os.environ.get("ROCM_PATH", ROCM))
