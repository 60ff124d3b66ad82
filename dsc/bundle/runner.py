"""The runner: its sources; its library and command, compiled here where a compiler for the processor is at hand."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from dsc.bundle.runtime import RuntimeFiles
from dsc.cxx import identity, run_compiler, write_sources
from dsc.files import cache_dir, made_once, scratch_folder
from dsc.host import usable_cores

LIBRARY, COMMAND = "libdsc.so", "dsc-run"
BINARIES = (LIBRARY, COMMAND)
_COMPILING = ("-std=c++17", "-O2", "-fPIC", "-fvisibility=hidden", "-pthread", "-Iinclude", "-c")
_LINKING = ("-pthread", "-s", "-Wl,--build-id=none", "-Wl,-rpath,$ORIGIN")
"""No build id, no symbol tables: the same sources give the same bytes."""
_FLAGS = (*_COMPILING, *_LINKING)
_ADVICE = "--compiler names another; without one, the bundle is built on the board by its CMakeLists.txt"


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
    digest = hashlib.sha256(repr((identity(compiler), _FLAGS)).encode())
    for name, content in sources.items():
        digest.update(repr((name, len(content))).encode() + content)
    return digest.hexdigest()[:32]


def _compiled(compiler: str, sources: Mapping[str, bytes]) -> Mapping[str, bytes]:
    with scratch_folder() as folder:
        write_sources(folder, sources)
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


def _run(arguments: list[str], folder: Path) -> None:
    run_compiler(arguments, folder, "the runner", _ADVICE)
