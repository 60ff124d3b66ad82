"""What this host is: its instruction set, CPU features and cores."""

from __future__ import annotations

import os
import platform
from functools import cache
from pathlib import Path

from dsc.errors import ArtifactError
from dsc.runtime.manifest import Manifest


@cache
def cpu_features() -> frozenset[str]:
    """Feature flags of this host as Linux names them."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() in ("flags", "Features"):  # x86, arm64
            return frozenset(value.split())
    return frozenset()


def physical_cores() -> int:
    """Cores this process may run on, hardware threads of one core counted once."""
    cores = set()
    for cpu in os.sched_getaffinity(0):
        siblings = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
        cores.add(siblings.read_text() if siblings.exists() else str(cpu))
    return len(cores)


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
