"""Guards around the tensors that a run allocates; see guard.c. Only in a process with the library preloaded."""

from __future__ import annotations

import ctypes
import subprocess
from enum import IntEnum
from pathlib import Path

from dsc.targets.cpu.link import HOST


class Placement(IntEnum):
    """Where allocations lie between their pages."""

    OFF = 0
    AT_END = 1
    AT_BEGIN = 2


def build_guard(folder: Path) -> Path:
    """The library to preload."""
    source, library = Path(__file__).with_name("guard.c"), folder / "guard.so"
    subprocess.run([HOST.find(), "-O1", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    return library


def place(placement: Placement) -> None:
    """Guard all tensors that are allocated from now on, or none."""
    ctypes.CDLL(None).guard_mode(int(placement))


def served() -> int:
    """How many guarded allocations there were."""
    function = ctypes.CDLL(None).guard_served
    function.restype = ctypes.c_size_t
    return int(function())
