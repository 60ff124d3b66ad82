"""Objects to a shared library, with the system's C compiler."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from importlib.resources import as_file, files
from pathlib import Path

from dsc.errors import UsageError

_COMPILERS = ("cc", "gcc", "clang")
_FLAGS = ("-shared", "-fPIC", "-O2", "-fvisibility=hidden", "-pthread", "-s", "-Wl,--build-id=none")
"""No build id, no symbol tables: the same objects give the same bytes."""


def link(objects: Sequence[Path], output: Path, compiler: str | None = None) -> None:
    """Make the shared library `output` of object files and dsc's thread pool.

    compiler: command of a C compiler for the target; the host's `cc` if not given.
    Raises `UsageError` if there is no compiler or it fails.
    """
    command = compiler or find_compiler()
    with as_file(files("dsc.codegen") / "parallel.c") as pool:
        arguments = [command, *_FLAGS, "-o", str(output), *map(str, objects), str(pool)]
        result = subprocess.run(arguments, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise UsageError(
            f"{command} could not link the model: {result.stderr.strip()[-2000:]}\n"
            f"(Debian and Ubuntu: `apt-get install gcc libc6-dev`)"
        )


def find_compiler() -> str:
    """The C compiler of this system. Raises `UsageError` saying what to install if there is none."""
    for name in _COMPILERS:
        if found := shutil.which(name):
            return found
    raise UsageError(
        "linking a model needs a C compiler and the C library's headers: install them (Debian and Ubuntu: "
        "`apt-get install gcc libc6-dev`), or put one on the PATH as `cc`"
    )
