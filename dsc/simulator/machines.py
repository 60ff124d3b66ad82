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
    """At most, where a kernel asks for it as dynamic shared memory; see `static_shared`."""
    shared_per_processor: int
    l2_bytes: int
    memory: int
    source: str
    static_shared: int = 48 * _KIB
    warp: int = 32
    sector_bytes: int = 32
    """Of global memory, that are moved together."""
    arch: str = ""
    """What HIP calls the instruction set; NVIDIA's follow from the capability."""


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


def _amd(
    arch: str,
    major: int,
    minor: int,
    *,
    units: int,
    mhz: int,
    threads: int,
    l2_mib: int,
    memory_gib: int,
    warp: int,
    line: int,
    product: str,
) -> Limits:
    """A GPU of AMD's; a block may share all local memory of a compute unit."""
    limits = (units, mhz * 1000, threads, _LOCAL, _LOCAL, l2_mib << 20, memory_gib * _GIB)
    source = f"LLVM 22, User Guide for AMDGPU Backend; {product}"
    return Limits(major, minor, *limits, source, _LOCAL, warp, line, arch)


_LOCAL = 64 * _KIB
_AMD = (
    _amd("gfx906", 9, 0, units=60, mhz=1725, threads=2560, l2_mib=4, memory_gib=16, warp=64, line=64, product="MI50"),
    _amd("gfx90a", 9, 0, units=110, mhz=1700, threads=2048, l2_mib=8, memory_gib=64, warp=64, line=128,
         product="Instinct MI250X, one of its two dies"),
    _amd("gfx942", 9, 4, units=304, mhz=2100, threads=2048, l2_mib=32, memory_gib=192, warp=64, line=128,
         product="Instinct MI300X"),
    _amd("gfx1030", 10, 3, units=80, mhz=2250, threads=1024, l2_mib=4, memory_gib=16, warp=32, line=128,
         product="Radeon RX 6900 XT"),
    _amd("gfx1100", 11, 0, units=96, mhz=2500, threads=1024, l2_mib=6, memory_gib=24, warp=32, line=128,
         product="Radeon RX 7900 XTX"),
    _amd("gfx1200", 12, 0, units=32, mhz=3130, threads=1024, l2_mib=4, memory_gib=16, warp=32, line=128,
         product="Radeon RX 9060 XT"),
)  # fmt: skip
BY_ARCH = {f"sm_{row.major}{row.minor}": row for row in _ROWS} | {row.arch: row for row in _AMD}


def limits(arch: str) -> Limits:
    """Of ``sm_80``, ``gfx942`` and the like. Raises `UsageError` naming those that are known."""
    found = BY_ARCH.get(arch) or BY_ARCH.get(arch.removesuffix("a"))
    if found is None:
        raise UsageError(f"the simulator does not know the limits of {arch}; it knows {', '.join(BY_ARCH)}")
    return found
