"""The library itself: what it needs where it is compiled and where it is used, and what is said without."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dsc import hip
from dsc.errors import UsageError
from dsc.hip import device, library
from dsc.simulator.toolchain import core_folder

COMPILER = shutil.which("c++") or "c++"


def test_headers_of_rocm_come_before_the_systems(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("rocm", "system"):
        header = tmp_path / folder / "include" / "hip" / "hip_runtime_api.h"
        header.parent.mkdir(parents=True)
        header.touch()
    monkeypatch.setattr(library, "_SYSTEM", tmp_path / "system")
    monkeypatch.setenv("ROCM_PATH", str(tmp_path / "rocm"))
    assert hip.find_headers() == tmp_path / "rocm" / "include"
    monkeypatch.setenv("ROCM_PATH", str(tmp_path / "nowhere"))
    assert hip.find_headers() == tmp_path / "system" / "include"
    monkeypatch.setattr(library, "_SYSTEM", tmp_path / "nowhere")
    with pytest.raises(UsageError, match=r"needs HIP's headers: .*apt-get install libamdhip64-dev"):
        hip.find_headers()


def test_no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "find_compiler", lambda arch: None)
    with pytest.raises(UsageError, match=r"needs a C\+\+ compiler, .*apt-get install g\+\+"):
        device.load.__wrapped__()


def test_a_compiler_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As one that is too old would; nothing is left in the cache."""
    monkeypatch.setenv("DSC_CACHE", str(tmp_path))
    monkeypatch.setattr(library, "_FLAGS", ("-std=c++17", "-fsyntax-only", "-Dnamespace=?"))
    with pytest.raises(UsageError, match=r"could not compile the library that drives AMD's GPUs.*\n(.*\n)*it needs"):
        hip.compile_library(COMPILER)
    assert not list(tmp_path.rglob("*.so"))


PROGRAM = """
import ctypes, os, sys
from dsc import hip
from dsc.errors import UsageError
from dsc.simulator import simulated_rocm
for folder in sys.argv[1:]:
    os.environ["ROCM_PATH"] = folder
    print(hip.problem())
broken = ctypes.CDLL(sys.argv[2] + "/lib/libamdhip64.so.6")
try:
    with simulated_rocm(): pass
except UsageError as error:
    print(error)
"""


def has_hip() -> bool:
    """Whether the loader finds a real one on this system."""
    for name in ("libamdhip64.so.7", "libamdhip64.so.6"):
        try:
            ctypes.CDLL(name)
        except OSError:
            continue
        return True
    return False


@pytest.mark.skipif(has_hip(), reason="HIP is installed here")
def test_libraries_of_hip(tmp_path: Path) -> None:
    """None, one without functions, and the stand-in, one after the other in one process; then a real one beside it."""
    broken, works = tmp_path / "broken", tmp_path / "works"
    for folder in (broken / "lib", works):
        folder.mkdir(parents=True)
    made = broken / "lib" / "libamdhip64.so.6"
    subprocess.run(
        [COMPILER, "-shared", "-x", "c++", "/dev/null", "-Wl,-soname,libamdhip64.so.6", "-o", made], check=True
    )
    (works / "lib").symlink_to(core_folder())
    command = [sys.executable, "-c", PROGRAM, tmp_path / "none", broken, works]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    none, without, there, real = done.stdout.splitlines()
    assert none.startswith("no libamdhip64.so: install ROCm (6 or newer), or set ROCM_PATH to the folder")
    assert "this system's libamdhip64.so has no hip" in without
    assert there == "HIP finds no GPU: no simulation is active"
    assert real.startswith(f"this process has loaded the real HIP ({made})")
