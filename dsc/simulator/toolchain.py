"""The host's C++ compiler: it builds the simulator's core once, and each kernel."""

from __future__ import annotations

import hashlib
import platform
import shutil
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib.resources import as_file, files
from pathlib import Path

from dsc import environment
from dsc.errors import UsageError
from dsc.files import cache_dir, made_once, scratch_folder, temporary_trouble
from dsc.host import cpu_features, usable_cores
from dsc.simulator.flags import CORE, kernel_flags

_INSTALL = "install it (Debian and Ubuntu: `apt-get install g++`)"
_NEEDED = frozenset({"avx2", "bmi2", "f16c", "fma"})
"""Of what x86-64-v3 is, the features that count here, as Linux names them."""
_PRELUDE = "prelude.h"
_CORE = "libcudart.so.13"
_OTHERS = ("libcuda.so.1", "libamdhip64.so.6")
"""By whose names programs ask for what the core has."""


@cache
def compiler() -> str:
    """The command of g++. Raises `UsageError` where there is none, or where the host cannot run its code."""
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        raise UsageError(f"the simulator needs Linux on x86-64, this is {platform.system()} on {platform.machine()}")
    if missing := sorted(_NEEDED - cpu_features()):
        raise UsageError(f"the simulator needs the CPU features {', '.join(missing)}, which this host does not have")
    found = shutil.which("g++")
    if found is None:
        raise UsageError(f"the simulator compiles kernels with g++, which is not there: {_INSTALL}")
    return found


def run(arguments: Sequence[str], source: str = "") -> subprocess.CompletedProcess[str]:
    """Run the compiler, its scratch files in a folder of its own. Raises `UsageError` where it cannot run."""
    with scratch_folder() as folder:
        variables = environment.copied(LC_ALL="C", TMPDIR=str(folder))
        try:
            result = subprocess.run(
                [compiler(), *arguments], input=source, capture_output=True, text=True, check=False, env=variables
            )
        except OSError as error:
            raise UsageError(f"{compiler()} cannot be run: {error.strerror}") from error
    if result.returncode != 0 and (trouble := temporary_trouble(result.stderr)):
        raise trouble
    if result.returncode < 0:
        raise UsageError(f"{compiler()} was ended by signal {-result.returncode}: is memory short?")
    return result


@cache
def native() -> Path:
    """The folder of the simulator's sources in C++."""
    return _kept(files("dsc.simulator") / "native")


def _kept(resource: object) -> Path:
    with as_file(resource) as folder:  # type: ignore[arg-type]
        return Path(folder)


def core_folder() -> Path:
    """Where the core is, as libcudart.so.13, libcuda.so.1 and libamdhip64.so.6; built on first use and kept in the
    cache."""
    target = cache_dir() / "simulator" / f"core-{_fingerprint()}"
    with made_once(target) as aside:
        if aside is not None:
            _build(aside)
    return target


def _fingerprint() -> str:
    """Of the sources, the compiler and how it is called."""
    digest = hashlib.sha256(f"{run(['--version']).stdout}{CORE}{kernel_flags(True)}{kernel_flags(False)}".encode())
    for path in sorted(native().rglob("*.[ch]*")):
        digest.update(f"{path.name} {path.stat().st_size}\n".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def header_paths(checks: bool) -> list[str]:
    """Options by which a kernel finds its headers, compiled already."""
    return [f"-I{_precompiled(core_folder(), checks).parent}", f"-I{native() / 'device'}"]


def _precompiled(folder: Path, checks: bool) -> Path:
    return folder / ("checked" if checks else "unchecked") / f"{_PRELUDE}.gch"


def _build(folder: Path) -> None:
    """One library has everything and goes by the name of CUDA's runtime; the others are names that bring it along."""
    sources = sorted((native() / "core").glob("*.cpp"))
    objects = [folder / f"{source.stem}.o" for source in sources]
    jobs = [[*CORE, "-c", str(source), "-o", str(to)] for source, to in zip(sources, objects, strict=True)]
    for checks in (True, False):
        header = _precompiled(folder, checks)
        header.parent.mkdir(parents=True)
        flags = [*kernel_flags(checks), "-x", "c++-header"]
        jobs.append([*flags, str(native() / "device" / _PRELUDE), "-o", str(header)])
    with ThreadPoolExecutor(usable_cores()) as pool:
        list(pool.map(_checked, jobs))
    core = folder / _CORE
    _link(core, f"-Wl,--version-script={_version_script(folder)}", *map(str, objects), "-ldl", "-pthread")
    for name in _OTHERS:
        _link(folder / name, "-Wl,--no-as-needed", str(core), "-Wl,-rpath,$ORIGIN")
    for path in objects:
        path.unlink()


def _link(library: Path, *arguments: str) -> None:
    _checked(["-shared", f"-Wl,-soname,{library.name}", "-o", str(library), *arguments])


def _version_script(folder: Path) -> Path:
    """TVM's library asks for symbols of this version."""
    script = folder / "versions.map"
    script.write_text(f"{_CORE} {{ global: *; }};\n")
    return script


def _checked(arguments: Sequence[str]) -> None:
    result = run(arguments)
    if result.returncode != 0:
        raise UsageError(f"g++ could not build the simulator: {result.stderr[-2000:]}")
