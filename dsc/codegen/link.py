"""Objects to a shared library, with the system's C compiler."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from functools import lru_cache
from importlib.resources import as_file, files
from pathlib import Path

from dsc.errors import UsageError

_COMPILERS = ("cc", "gcc", "clang")
_COMPILING = ("-c", "-fPIC", "-O2", "-fvisibility=hidden", "-pthread")
_LINKING = ("-shared", "-pthread", "-s", "-Wl,--build-id=none")
"""No build id, no symbol tables: the same objects give the same bytes."""


def link(objects: Sequence[Path], output: Path, compiler: str | None = None) -> None:
    """Make the shared library `output` of object files and dsc's thread pool.

    compiler: command of a C compiler for the target; the host's `cc` if not given.
    Raises `UsageError` if there is no compiler or it fails.
    """
    command = compiler or find_compiler()
    pool = output.with_name("parallel.o")
    pool.write_bytes(_thread_pool(command))
    _run([command, *_LINKING, "-o", str(output), *map(str, objects), str(pool)])


@lru_cache
def _thread_pool(command: str) -> bytes:
    """The object file of dsc's thread pool: compiled once in a process."""
    with as_file(files("dsc.codegen") / "parallel.c") as source, tempfile.TemporaryDirectory(prefix="dsc-") as folder:
        compiled = Path(folder, "parallel.o")
        _run([command, *_COMPILING, "-o", str(compiled), str(source)])
        return compiled.read_bytes()


def _run(arguments: Sequence[str]) -> None:
    result = subprocess.run(arguments, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise UsageError(
            f"{arguments[0]} could not link the model: {result.stderr.strip()[-2000:]}\n"
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
