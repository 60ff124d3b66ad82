"""What this host is: its instruction set, CPU features and cores."""

from __future__ import annotations

import os
import platform
import sys
from functools import cache
from pathlib import Path

from dsc.errors import ArtifactError
from dsc.runtime.manifest import Manifest

_QUOTA = Path("/sys/fs/cgroup/cpu.max")


@cache
def cpu_features() -> frozenset[str]:
    """Feature flags of this host as Linux names them."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() in ("flags", "Features"):  # x86, arm64
            return frozenset(value.split())
    return frozenset()


def usable_cores(quota: Path = _QUOTA) -> int:
    """Cores that this process may keep busy: by its affinity, hardware threads of one core counted once, and
    by the limit of the container it is in."""
    cores = set()
    for cpu in os.sched_getaffinity(0):
        siblings = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
        cores.add(siblings.read_text() if siblings.exists() else str(cpu))
    return max(1, min(len(cores), _limit(quota)))


def _limit(quota: Path) -> int:
    """Cores that cgroup v2's ``cpu.max`` (microseconds of CPU, and of time) amounts to; a large number if none."""
    if not quota.exists():
        return sys.maxsize
    microseconds, period = quota.read_text().split()
    return sys.maxsize if microseconds == "max" else int(microseconds) // int(period)


def check_host(manifest: Manifest, source: str) -> None:
    """Raise `ArtifactError` if this host cannot run the artifact's code."""
    if platform.machine() != manifest.arch:
        raise ArtifactError(
            f"{source} was compiled for {manifest.arch} ({manifest.target}), this host is "
            f"{platform.machine()}; compile the model again on this host or with --target for it"
        )
    missing = sorted(set(manifest.features) - cpu_features())
    if missing:
        raise ArtifactError(
            f"{source} was compiled for {manifest.target} and needs the CPU features "
            f"{', '.join(missing)}, which this host does not have; compile the model again here "
            f"(`dsc compile --target x86`)"
        )
