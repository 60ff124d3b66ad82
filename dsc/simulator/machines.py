"""Limits of the devices that are simulated, by architecture."""

from __future__ import annotations

from dataclasses import dataclass

from dsc.errors import UsageError

_KIB, _GIB = 1 << 10, 1 << 30


@dataclass(frozen=True)
class Limits:
    """Of one device. Shared memory in bytes."""

    major: int
    minor: int
    processors: int
    clock_khz: int
    threads_per_processor: int
    shared_per_block: int
    """At most, where a kernel asks for it as dynamic shared memory; static shared memory ends at 48 KiB."""
    shared_per_processor: int
    l2_bytes: int
    memory: int
    source: str


_GUIDE = "CUDA C++ Programming Guide, table Technical Specifications per Compute Capability"
_ROWS = (
    Limits(7, 0, 80, 1530000, 2048, 96 * _KIB, 96 * _KIB, 6 << 20, 16 * _GIB, f"{_GUIDE}; Tesla V100"),
    Limits(7, 5, 40, 1590000, 1024, 64 * _KIB, 64 * _KIB, 4 << 20, 16 * _GIB, f"{_GUIDE}; Tesla T4"),
    Limits(8, 0, 108, 1410000, 2048, 163 * _KIB, 164 * _KIB, 40 << 20, 40 * _GIB, f"{_GUIDE}; A100"),
    Limits(8, 6, 82, 1695000, 1536, 99 * _KIB, 100 * _KIB, 6 << 20, 24 * _GIB, f"{_GUIDE}; GeForce RTX 3090"),
    Limits(8, 9, 128, 2520000, 1536, 99 * _KIB, 100 * _KIB, 72 << 20, 24 * _GIB, f"{_GUIDE}; GeForce RTX 4090"),
    Limits(9, 0, 132, 1980000, 2048, 227 * _KIB, 228 * _KIB, 50 << 20, 80 * _GIB, f"{_GUIDE}; H100 SXM"),
    Limits(10, 0, 148, 1965000, 2048, 227 * _KIB, 228 * _KIB, 126 << 20, 180 * _GIB, f"{_GUIDE}; B200"),
)
BY_ARCH = {f"sm_{row.major}{row.minor}": row for row in _ROWS}


def limits(arch: str) -> Limits:
    """Of ``sm_80`` and the like. Raises `UsageError` naming those that are known."""
    found = BY_ARCH.get(arch.removesuffix("a"))
    if found is None:
        raise UsageError(f"the simulator does not know the limits of {arch}; it knows {', '.join(BY_ARCH)}")
    return found
