"""Objects to a shared library, with the system's C compiler."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from importlib.resources import as_file, files
from pathlib import Path

import tvm

from dsc.errors import UsageError

_COMPILERS = ("cc", "gcc", "clang")
_FLAGS = ("-shared", "-fPIC", "-O2", "-fvisibility=hidden", "-pthread", "-s", "-Wl,--build-id=none")
"""No build id, no symbol tables: the same objects give the same bytes."""


def link(executable: tvm.runtime.Executable, compiler: str | None = None) -> bytes:
    """The shared library of a compiled module, with dsc's thread pool in it.

    compiler: command of a C compiler for the target; the host's `cc` if not given.
    Raises `UsageError` if there is no compiler or it fails.
    """
    command = compiler or find_compiler()

    def linker(output: str, objects: Sequence[str], **_: object) -> None:
        with as_file(files("dsc.codegen") / "parallel.c") as pool:
            _run([command, *_FLAGS, "-o", output, *objects, str(pool)])

    with tempfile.TemporaryDirectory(prefix="dsc-") as private:
        path = Path(private, "lib.so")
        executable.export_library(str(path), fcompile=linker, workspace_dir=private)
        return path.read_bytes()


def find_compiler() -> str:
    """The C compiler of this system. Raises `UsageError` saying what to install if there is none."""
    for name in _COMPILERS:
        if found := shutil.which(name):
            return found
    raise UsageError(
        "linking a model needs a C compiler and the C library's headers: install them (Debian and Ubuntu: "
        "`apt-get install gcc libc6-dev`), or put one on the PATH as `cc`"
    )


def _run(command: Sequence[str]) -> None:
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise UsageError(
            f"{command[0]} could not link the model: {result.stderr.strip()[-2000:]}\n"
            f"(Debian and Ubuntu: `apt-get install gcc libc6-dev`)"
        )
