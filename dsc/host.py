"""What this host is: its processor, instruction set and cores, and how many of them this process may use."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

FAMILY = "arm" if platform.machine() in ("aarch64", "arm64") else "x86"
"""The family of targets that this host's processor is of."""
_CPUINFO = Path("/proc/cpuinfo")
_CPUS = Path("/sys/devices/system/cpu")
_CGROUPS = Path("/sys/fs/cgroup")
_MEMBERSHIP = Path("/proc/self/cgroup")
_UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


@cache
def cpu_features() -> frozenset[str]:
    """Feature flags of this host as Linux names them."""
    return frozenset((_cpuinfo().get("flags") or _cpuinfo().get("Features", "")).split())  # x86, arm64


@cache
def processor() -> str:
    """The processor as exactly as it says itself: names are often cut short in virtual machines."""
    facts = _cpuinfo()
    numbers = [f"{key} {facts[key]}" for key in ("cpu family", "model", "stepping") if key in facts]
    return ", ".join([facts.get("model name", "unknown processor"), *numbers])


@cache
def cpu_part() -> tuple[int, int] | None:
    """Implementer and part number of an Arm core, the last one's where they differ: the fast ones come last."""
    numbers = {}
    for line in _read(_CPUINFO).splitlines():
        key, _, value = line.partition(":")
        numbers[key.strip()] = value.strip()
    if "CPU implementer" not in numbers or "CPU part" not in numbers:
        return None
    return int(numbers["CPU implementer"], 0), int(numbers["CPU part"], 0)


@cache
def cache_sizes() -> dict[int, int]:
    """Bytes of the data or unified cache of each level that a core has."""
    sizes: dict[int, int] = {}
    for index in sorted((_CPUS / "cpu0/cache").glob("index*")):
        level, kind, size = (_read(index / name) for name in ("level", "type", "size"))
        if kind in ("Data", "Unified") and size[-1:] in _UNITS and level.isdecimal():
            sizes[int(level)] = int(size[:-1]) * _UNITS[size[-1]]
    return sizes


def usable_cores(membership: Path = _MEMBERSHIP, groups: Path = _CGROUPS) -> int:
    """Cores that this process may keep busy: by its affinity, hardware threads of one core counted once, and
    by the limits of the control groups it is in (by /proc/self/cgroup and the folder of all groups)."""
    cores = set()
    for cpu in os.sched_getaffinity(0):
        cores.add(_read(_CPUS / f"cpu{cpu}/topology/thread_siblings_list") or str(cpu))
    return max(1, min(len(cores), *_limits(membership, groups)))


def _limits(membership: Path, root: Path) -> Iterator[int]:
    """Whole cores that the control groups above this process allow, of version 2 or 1 (a large number first)."""
    yield sys.maxsize
    for line in _read(membership).splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        top = root / "cpu" if controllers else root
        group = top / path.lstrip("/")
        for folder in (group, *group.parents):
            if folder.is_relative_to(top):
                yield _limit(folder)


def _limit(group: Path) -> int:
    """Cores that a group's quota amounts to: microseconds of CPU, and of time; a large number if none."""
    if text := _read(group / "cpu.max"):
        quota, period = text.split()
    else:
        quota, period = _read(group / "cpu.cfs_quota_us") or "max", _read(group / "cpu.cfs_period_us") or "1"
    return sys.maxsize if quota in ("max", "-1") else int(quota) // int(period)


@cache
def _cpuinfo() -> dict[str, str]:
    """What the first processor says."""
    facts: dict[str, str] = {}
    for line in _read(_CPUINFO).splitlines():
        key, _, value = line.partition(":")
        facts.setdefault(key.strip(), value.strip())
    return facts


def _read(path: Path) -> str:
    """The file's text, or nothing where the system does not have it."""
    try:
        return path.read_text().strip()
    except OSError:
        return ""
