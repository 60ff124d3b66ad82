"""Objects to a shared library, with a C compiler: the system's, or one that makes code for other machines."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import as_file, files
from pathlib import Path

from dsc import environment
from dsc.errors import UsageError
from dsc.files import scratch_folder, temporary_trouble

_COMPILING = ("-c", "-fPIC", "-O2", "-fvisibility=hidden", "-pthread")
_LINKING = ("-shared", "-pthread", "-s", "-Wl,--build-id=none")
"""No build id, no symbol tables: the same objects give the same bytes."""
_NOT_INSTALLED = (".h: No such file", "cannot find", "cannot execute")
"""What compilers say without headers, without the start files and the C library, and without a linker."""


@dataclass(frozen=True)
class Compiler:
    """A C compiler, with its linker and C library, that makes code for one kind of machine."""

    commands: tuple[str, ...]
    """Any of them; the first that is there is taken."""
    packages: str
    """Those of Debian and Ubuntu that bring it."""

    def find(self) -> str:
        """The command. Raises `UsageError` saying what to install if there is none."""
        for name in self.commands:
            if shutil.which(name):
                return name
        raise UsageError(
            f"linking a model needs a C compiler ({' or '.join(self.commands)}) and the C library's headers: "
            f"{self.advice}"
        )

    @property
    def advice(self) -> str:
        """How to come by it."""
        return f"install them (Debian and Ubuntu: `apt-get install {self.packages}`)"


HOST = Compiler(("cc", "gcc", "clang"), "gcc libc6-dev")
"""That of this system."""


def link(objects: Sequence[Path], output: Path, compiler: Compiler = HOST) -> None:
    """Make the shared library `output` of object files and dsc's thread pool.

    Raises `UsageError` if there is no compiler or it fails.
    """
    pool = output.with_name("parallel.o")
    pool.write_bytes(compiled("dsc.targets.cpu", "parallel.c", compiler))
    _run([compiler.find(), *_LINKING, "-o", str(output), *map(str, objects), str(pool)], output.parent, compiler)


@lru_cache
def compiled(package: str, source: str, compiler: Compiler, flags: tuple[str, ...] = ()) -> bytes:
    """The object file of a C source of a package's, with what it includes beside it: made once in a process.

    Raises `UsageError` if there is no compiler or it fails.
    """
    with as_file(files(package)) as place, scratch_folder() as folder:
        output = folder / "compiled.o"
        _run([compiler.find(), *_COMPILING, *flags, "-o", str(output), str(place / source)], folder, compiler)
        return output.read_bytes()


def _run(arguments: Sequence[str], folder: Path, compiler: Compiler) -> None:
    """Run the compiler. Its own scratch files go to `folder`, with ours; its messages are read below."""
    variables = environment.copied(LC_ALL="C", TMPDIR=str(folder))
    try:
        result = subprocess.run(arguments, capture_output=True, errors="replace", check=False, env=variables)
    except OSError as error:
        raise UsageError(f"the C compiler {arguments[0]} cannot be run: {error.strerror}") from error
    if result.returncode != 0:
        raise _failed(arguments[0], result.returncode, result.stderr.strip(), compiler)


def _failed(command: str, code: int, said: str, compiler: Compiler) -> UsageError:
    """Why linking failed: a full disk, a compiler that was stopped, a C library that is not there, or what it says."""
    if trouble := temporary_trouble(said):
        return trouble
    if code < 0:
        return UsageError(f"{command} was ended by signal {-code} while it linked the model: is memory short?")
    advice = f"\n{compiler.advice}" if any(sign in said for sign in _NOT_INSTALLED) else ""
    return UsageError(f"{command} could not link the model: {said[-2000:] or f'exit code {code}, no message'}{advice}")
