"""Objects to a shared library, with the system's C compiler."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from importlib.resources import as_file, files
from pathlib import Path

from dsc.errors import UsageError
from dsc.files import temporary_trouble

_COMPILERS = ("cc", "gcc", "clang")
_FLAGS = ("-shared", "-fPIC", "-O2", "-fvisibility=hidden", "-pthread", "-s", "-Wl,--build-id=none")
"""No build id, no symbol tables: the same objects give the same bytes."""


_INSTALL = "install them (Debian and Ubuntu: `apt-get install gcc libc6-dev`)"
_NOT_INSTALLED = (".h: No such file", "cannot find", "cannot execute")
"""What compilers say without headers, without the start files and the C library, and without a linker."""


def link(objects: Sequence[Path], output: Path, compiler: str | None = None) -> None:
    """Make the shared library `output` of object files and dsc's thread pool.

    compiler: command of a C compiler for the target; the host's `cc` if not given.
    Raises `UsageError` if there is no compiler or it fails.
    """
    command = compiler or find_compiler()
    with as_file(files("dsc.codegen") / "parallel.c") as pool:
        arguments = [command, *_FLAGS, "-o", str(output), *map(str, objects), str(pool)]
        # Its own scratch files go with ours; its messages are read below.
        environment = {**os.environ, "LC_ALL": "C", "TMPDIR": str(output.parent)}
        try:
            result = subprocess.run(arguments, capture_output=True, errors="replace", check=False, env=environment)
        except OSError as error:
            raise UsageError(f"the C compiler {command} cannot be run: {error.strerror}") from error
    if result.returncode != 0:
        raise _failed(command, result.returncode, result.stderr.strip())


def _failed(command: str, code: int, said: str) -> UsageError:
    """Why linking failed: a full disk, a compiler that was stopped, a C library that is not there, or what it says."""
    if trouble := temporary_trouble(said):
        return trouble
    if code < 0:
        return UsageError(f"{command} was ended by signal {-code} while it linked the model: is memory short?")
    advice = f"\n{_INSTALL}" if any(sign in said for sign in _NOT_INSTALLED) else ""
    return UsageError(f"{command} could not link the model: {said[-2000:] or f'exit code {code}, no message'}{advice}")


def find_compiler() -> str:
    """The C compiler of this system. Raises `UsageError` saying what to install if there is none."""
    for name in _COMPILERS:
        if found := shutil.which(name):
            return found
    raise UsageError(
        f"linking a model needs a C compiler and the C library's headers: {_INSTALL}, or put one on the PATH as `cc`"
    )
