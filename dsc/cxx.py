"""C++ compilers of this host, for code that dsc brings as source: which there are, and how they are called."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from dsc import environment
from dsc.errors import UsageError
from dsc.files import scratch_folder, temporary_trouble

_HOST_COMPILERS = ("c++", "g++", "clang++")


def find_compiler(arch: str, command: str | None = None) -> str | None:
    """A C++ compiler for processors of `arch`; None where there is none.

    command: the one to take. Raises `UsageError` where that is not there.
    """
    if command is not None:
        if found := shutil.which(command):
            return found
        raise UsageError(f"there is no compiler {command}")
    names = _HOST_COMPILERS if arch == platform.machine() else (f"{arch}-linux-gnu-g++",)
    return next((found for name in names if (found := shutil.which(name))), None)


def identity(compiler: str) -> str:
    """Different for compilers that may make other code."""
    with scratch_folder() as folder:
        return repr((os.path.realpath(compiler), _called([compiler, "--version"], folder).stdout))


def write_sources(folder: Path, sources: Mapping[str, bytes]) -> None:
    """Write files by their names relative to `folder`."""
    for name, content in sources.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def run_compiler(arguments: Sequence[str], folder: Path, what: str, advice: str) -> None:
    """Run a compiler in `folder`, where its own scratch files go too.

    Raises `UsageError` where it fails: it could not compile `what`, what it says, `advice`.
    """
    done = _called(arguments, folder)
    if done.returncode != 0:
        said = done.stderr.strip()
        if trouble := temporary_trouble(said):
            raise trouble
        raise UsageError(
            f"{arguments[0]} could not compile {what}: {said[-2000:] or f'exit code {done.returncode}'}\n{advice}"
        )


def _called(arguments: Sequence[str], folder: Path) -> subprocess.CompletedProcess[str]:
    variables = environment.copied(LC_ALL="C", TMPDIR=str(folder))
    try:
        return subprocess.run(
            arguments, cwd=folder, capture_output=True, text=True, errors="replace", check=False, env=variables
        )
    except OSError as error:
        raise UsageError(f"the C++ compiler {arguments[0]} cannot be run: {error.strerror}") from error
