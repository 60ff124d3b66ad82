"""TVM's runtime for a processor: two libraries, the headers of their C interface, their licences."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import distribution, version
from pathlib import Path

from dsc.errors import UsageError
from dsc.files import cache_dir
from dsc.installed import RUNTIME_LIBRARIES, TVM, TVM_FFI, installed
from dsc.models.packages import Package, members

LIBRARIES = tuple(RUNTIME_LIBRARIES)
_HEADER_PLACES = {
    "include/tvm/ffi/c_api.h": "tvm_ffi/include/tvm/ffi/c_api.h",
    "include/dlpack/dlpack.h": "tvm_ffi/include/dlpack/dlpack.h",
}
HEADERS = tuple(_HEADER_PLACES)
LICENCES = ("licenses/apache-tvm.LICENSE", "licenses/apache-tvm-ffi.LICENSE", "licenses/apache-tvm-ffi.NOTICE")
_PLATFORM = "manylinux_2_28"
"""Of wheels: the C library that they ask for."""
_ELF_MACHINES = {"x86_64": 62, "aarch64": 183}
"""e_machine, by the architecture's name."""


@dataclass(frozen=True)
class RuntimeFiles:
    """What is installed or was fetched."""

    libraries: Mapping[str, Path]
    headers: Mapping[str, Path]
    licences: Mapping[str, Path]
    version: str
    """Of the libraries, for messages."""

    def contents(self) -> dict[str, bytes]:
        """The files by their places in a bundle."""
        places = {**self.libraries, **self.headers, **self.licences}
        return {name: path.read_bytes() for name, path in places.items()}


def runtime_files(arch: str, folder: Path | None) -> RuntimeFiles:
    """The runtime for processors of `arch`: the libraries in `folder`, else those of this installation, or of the
    wheels of the same version for that architecture, which pip fetches into the cache.

    Raises `UsageError` where they cannot be found or are for another processor.
    """
    if folder is not None:
        libraries = {name: folder / name for name in LIBRARIES}
    elif arch == platform.machine():
        libraries = {name: installed(package, place) for name, (package, place) in RUNTIME_LIBRARIES.items()}
    else:
        libraries = {name: _fetched(arch, name) for name in LIBRARIES}
    for path in libraries.values():
        _check_machine(path, arch)
    headers = {name: installed(TVM_FFI, place) for name, place in _HEADER_PLACES.items()}
    licences = {name: _licence(name) for name in LICENCES}
    return RuntimeFiles(libraries, headers, licences, f"{TVM} {version(TVM)}")


def _licence(name: str) -> Path:
    """The file of a licence in the package's metadata."""
    package, _, kind = Path(name).name.rpartition(".")
    for file in distribution(package).files or ():
        if file.parent.name == "licenses" and file.name == kind:
            return Path(str(file.locate()))
    raise UsageError(f"the installed {package} has no {kind}, without which its libraries may not be passed on")


def _fetched(arch: str, name: str) -> Path:
    package, place = RUNTIME_LIBRARIES[name]
    wheel = Package(package, version(package), None, "wheel", f"{_PLATFORM}_{arch}")
    target = cache_dir() / "runtime" / arch / f"{package}-{wheel.version}"
    try:
        return members(wheel, [place], target) / name
    except UsageError as error:
        raise UsageError(f"{error}\n{name} for {arch} may be given by hand too: --runtime DIR") from error


def _check_machine(path: Path, arch: str) -> None:
    """Whether a library is one, for the processor."""
    try:
        with path.open("rb") as file:
            start = file.read(20)
    except OSError as error:
        raise UsageError(f"cannot read the runtime library {path}: {error.strerror}") from error
    machine = int.from_bytes(start[18:20], "little")
    if start[:4] != b"\x7fELF" or _ELF_MACHINES.get(arch, machine) != machine:
        found = next((name for name, number in _ELF_MACHINES.items() if number == machine), f"machine {machine}")
        what = f"is for {found}" if start[:4] == b"\x7fELF" else "is no library"
        raise UsageError(f"{path} {what}; the model needs a runtime for {arch}")
