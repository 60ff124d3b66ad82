"""The runner: its sources; its library and command, compiled here where a compiler for the processor is at hand."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from dsc import environment
from dsc.bundle.runtime import RuntimeFiles
from dsc.errors import UsageError
from dsc.files import cache_dir, made_once, scratch_folder, temporary_trouble
from dsc.host import usable_cores

LIBRARY, COMMAND = "libdsc.so", "dsc-run"
BINARIES = (LIBRARY, COMMAND)
_HOST_COMPILERS = ("c++", "g++", "clang++")
_COMPILING = ("-std=c++17", "-O2", "-fPIC", "-fvisibility=hidden", "-pthread", "-Iinclude", "-c")
_LINKING = ("-pthread", "-s", "-Wl,--build-id=none", "-Wl,-rpath,$ORIGIN")
"""No build id, no symbol tables: the same sources give the same bytes."""
_FLAGS = (*_COMPILING, *_LINKING)


@cache
def runner_sources() -> Mapping[str, bytes]:
    """Sources, headers and CMakeLists.txt, by their places in a bundle."""
    return dict(sorted(_read(files("dsc.bundle") / "runner", "")))


def _read(folder: Traversable, place: str) -> list[tuple[str, bytes]]:
    found = []
    for item in folder.iterdir():
        name = f"{place}{item.name}"
        found += _read(item, f"{name}/") if item.is_dir() else [(name, item.read_bytes())]
    return found


def find_compiler(arch: str, command: str | None) -> str | None:
    """A C++ compiler for processors of `arch`; None where there is none.

    command: the one to take. Raises `UsageError` where that is not there.
    """
    if command is not None:
        if found := shutil.which(command):
            return found
        raise UsageError(f"there is no compiler {command}")
    names = _HOST_COMPILERS if arch == platform.machine() else (f"{arch}-linux-gnu-g++",)
    return next((found for name in names if (found := shutil.which(name))), None)


def compile_runner(compiler: str, runtime: RuntimeFiles) -> Mapping[str, bytes]:
    """The library and the command that `compiler` makes, by their places in a bundle. They are kept in the cache.

    Raises `UsageError` if it fails.
    """
    sources = {**runner_sources(), **_contents(runtime.headers), **_contents(runtime.libraries)}
    kept = cache_dir() / "runner" / _key(compiler, sources)
    with made_once(kept) as aside:
        if aside is not None:
            aside.mkdir()
            for name, content in _compiled(compiler, sources).items():
                (aside / name).write_bytes(content)
    return {name: (kept / name).read_bytes() for name in BINARIES}


def _contents(paths: Mapping[str, Path]) -> dict[str, bytes]:
    return {name: path.read_bytes() for name, path in paths.items()}


def _key(compiler: str, sources: Mapping[str, bytes]) -> str:
    """Different for all that gives other code."""
    digest = hashlib.sha256(repr((os.path.realpath(compiler), _said([compiler, "--version"]), _FLAGS)).encode())
    for name, content in sources.items():
        digest.update(repr((name, len(content))).encode() + content)
    return digest.hexdigest()[:32]


def _compiled(compiler: str, sources: Mapping[str, bytes]) -> Mapping[str, bytes]:
    with scratch_folder() as folder:
        for name, content in sources.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        with ThreadPoolExecutor(usable_cores()) as pool:
            library, command = pool.map(lambda part: _object(compiler, folder, part), ("src", "tool"))
        # libtvm_runtime is needed by the model's code, although nothing here calls it
        needed = ["-Wl,--no-as-needed", "./libtvm_runtime.so", "./libtvm_ffi.so", "-Wl,--as-needed", "-ldl"]
        _run([compiler, "-shared", *_LINKING, f"-Wl,-soname,{LIBRARY}", "-o", LIBRARY, library, *needed], folder)
        _run([compiler, *_LINKING, "-Wl,-rpath-link,.", "-o", COMMAND, command, f"./{LIBRARY}"], folder)
        return {name: (folder / name).read_bytes() for name in BINARIES}


def _object(compiler: str, folder: Path, part: str) -> str:
    """The object file of all sources in a folder, compiled in one piece: standard headers take most of the time."""
    sources = [name for name in runner_sources() if name.startswith(f"{part}/") and name.endswith(".cpp")]
    (folder / f"{part}.cpp").write_text("".join(f'#include "{name}"\n' for name in sources))
    _run([compiler, *_COMPILING, f"{part}.cpp", "-o", f"{part}.o"], folder)
    return f"{part}.o"


def _run(arguments: Sequence[str], folder: Path) -> None:
    """Run the compiler in `folder`, where its own scratch files go too."""
    done = _called(arguments, folder)
    if done.returncode != 0:
        said = done.stderr.strip()
        if trouble := temporary_trouble(said):
            raise trouble
        raise UsageError(
            f"{arguments[0]} could not compile the runner: {said[-2000:] or f'exit code {done.returncode}'}\n"
            "--compiler names another; without one, the bundle is built on the board by its CMakeLists.txt"
        )


def _said(arguments: Sequence[str]) -> str:
    with scratch_folder() as folder:
        return _called(arguments, folder).stdout


def _called(arguments: Sequence[str], folder: Path) -> subprocess.CompletedProcess[str]:
    variables = environment.copied(LC_ALL="C", TMPDIR=str(folder))
    try:
        return subprocess.run(
            arguments, cwd=folder, capture_output=True, text=True, errors="replace", check=False, env=variables
        )
    except OSError as error:
        raise UsageError(f"the C++ compiler {arguments[0]} cannot be run: {error.strerror}") from error
