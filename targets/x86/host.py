"""The host as a `Machine`. Only lasting facts are read, so that two compilations on one host agree."""

from __future__ import annotations

import os
from dataclasses import replace
from functools import cache
from pathlib import Path

import tvm

from dsc.errors import UsageError
from dsc.targets.machine import Machine
from dsc.targets.x86.machines import CORES, named

_CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
_CPUINFO = Path("/proc/cpuinfo")
_UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
_LEVELS = ("x86-64-v4", "x86-64-v3", "x86-64-v2")


@cache
def native() -> Machine:
    """The host. Raises `UsageError` where that is not an x86-64 with at least SSE 4.2."""
    found = _flags()
    machine = _closest(_llvm_cpu(), found)
    if machine is None:
        raise UsageError("x86:native needs an x86-64 host with SSE 4.2; name a machine, as x86:haswell")
    sizes = _cache_sizes()
    return replace(
        machine,
        cores=_physical_cores(),
        l1_bytes=sizes.get(1, machine.l1_bytes),
        l2_bytes=sizes.get(2, machine.l2_bytes),
        l3_bytes=sizes.get(3, machine.l3_bytes),
    )


def _closest(cpu: str, found: frozenset[str]) -> Machine | None:
    """The host's own tag, or the best level; either only if the host (or its hypervisor) has all features."""
    own = [tag for tag, core in CORES.items() if core.mcpu == cpu]
    for tag in (*own, *_LEVELS):
        if CORES[tag].features <= found:
            return named(tag)
    return None


def _llvm_cpu() -> str:
    return str(tvm.target.codegen.llvm_get_system_cpu())


def _flags() -> frozenset[str]:
    for line in _read(_CPUINFO).splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "flags":
            return frozenset(value.split())
    return frozenset()


def _physical_cores() -> int:
    """Distinct (socket, core) pairs; the number of CPUs where the kernel does not tell."""
    pairs = set()
    socket = "0"
    for line in _read(_CPUINFO).splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "physical id":
            socket = value.strip()
        elif key.strip() == "core id":
            pairs.add((socket, value.strip()))
    return len(pairs) or os.cpu_count() or 1


def _cache_sizes() -> dict[int, int]:
    """Bytes of the data or unified cache of each level."""
    sizes: dict[int, int] = {}
    for index in sorted(_CACHES.glob("index*")):
        level, kind, size = (_read(index / name).strip() for name in ("level", "type", "size"))
        if kind in ("Data", "Unified") and size[-1:] in _UNITS and level.isdigit():
            sizes[int(level)] = int(size[:-1]) * _UNITS[size[-1]]
    return sizes


def _read(path: Path) -> str:
    """The file's text, or nothing where the system does not have it."""
    return path.read_text() if path.is_file() else ""
