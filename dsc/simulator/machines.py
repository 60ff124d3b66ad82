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
    """At most, where a kernel asks for it as dynamic shared memory."""
    shared_per_processor: int
    l2_bytes: int
    memory: int
    source: str
    static_shared: int = 48 * _KIB
    """Of a block, in variables of a kernel."""
    warp: int = 32
    """Lanes."""
    sector_bytes: int = 32
    """Of global memory, that are moved together."""


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
CUDA = {f"sm_{row.major}{row.minor}": row for row in _ROWS}


def _amd(
    version: tuple[int, int], units: int, mhz: int, waves: int, warp: int, l2: int, memory: int, line: int, product: str
) -> Limits:
    """A row of AMD's, all of whose local memory a block may have. units: compute units. waves: that one holds. l2: in
    MiB. memory: in GiB. line: bytes that L2 gives at least."""
    return Limits(
        *version, units, mhz * 1000, waves * warp, 64 * _KIB, 64 * _KIB, l2 << 20, memory * _GIB,
        f"LLVM 22, User Guide for AMDGPU Backend; {product}", static_shared=64 * _KIB, warp=warp, sector_bytes=line,
    )  # fmt: skip


AMD = {
    "gfx906": _amd((9, 0), 60, 1725, 40, 64, 4, 16, 64, "Radeon Instinct MI50"),
    "gfx90a": _amd((9, 0), 110, 1700, 32, 64, 8, 64, 128, "Instinct MI250X, one of its two dies"),
    "gfx942": _amd((9, 4), 304, 2100, 32, 64, 32, 192, 128, "Instinct MI300X"),
    "gfx1030": _amd((10, 3), 80, 2250, 32, 32, 4, 16, 128, "Radeon RX 6900 XT"),
    "gfx1100": _amd((11, 0), 96, 2500, 32, 32, 6, 24, 128, "Radeon RX 7900 XTX"),
    "gfx1200": _amd((12, 0), 32, 3130, 32, 32, 4, 16, 128, "Radeon RX 9060 XT"),
}


def limits(arch: str) -> Limits:
    """Of ``sm_80``, ``gfx942`` and the like. Raises `UsageError` naming those that are known."""
    found = AMD.get(arch) or CUDA.get(arch.removesuffix("a"))
    if found is None:
        raise UsageError(f"the simulator does not know the limits of {arch}; it knows {', '.join([*CUDA, *AMD])}")
    return found
