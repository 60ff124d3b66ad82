"""AMD's GPUs by the name that LLVM has for their instruction set.

Registers, local memory and wavefronts are those of the instruction set's guide and of LLVM's "User Guide for AMDGPU
Backend". Clock, compute units and memory are those of one product of that instruction set, named in its row. Where the
rate of L2 is not published, it is channels times bytes per cycle times the clock, which the row says. What AMD calls
Infinity Cache is not in the model: footprints beyond L2 count as memory's.
"""

from __future__ import annotations

from dsc.targets.gpu.machine import Gpu
from dsc.targets.rocm.instructions import Rows, cdna2, cdna3, dot4, fma, packed_fma, rdna, sudot4

KIB, MIB, GIB, GB = 1 << 10, 1 << 20, 1 << 30, 1e9
BLOCK_THREADS = 256
"""In a block. Hardware takes 1024, but TVM's code generator promises LLVM no more than this where it finds no GPU."""
LOCAL_BYTES = 64 << 10
"""Memory that a block shares, at most; on all of these."""
LAUNCH_SECONDS = 5e-6
"""From one short kernel of a stream to the next: an estimate, for all of these."""
GRAPH_LAUNCH_SECONDS = 3.9e-6
"""The same within a graph: measured on gfx1100 with ROCm 7 and 941 kernels of one block, whose time is in it
(ROCm/rocm-systems, issue 10834); an estimate for the others."""


def _gpu(
    arch: str,
    *,
    product: str,
    units: int,
    ghz: float,
    wave: int,
    rows: Rows,
    waves: int,
    register_kib: int,
    registers: int,
    l2_mib: int,
    l2_gb: float,
    dram_gb: float,
    memory_gib: int,
    line: int,
) -> Gpu:
    """A row. waves: that a compute unit holds. register_kib: of vector registers, in a compute unit. registers: of a
    thread. line: bytes that L2 gives at least. l2_gb, dram_gb: GB/s."""
    return Gpu(
        name=f"rocm:{arch}",
        source=f"LLVM 22, User Guide for AMDGPU Backend; {product}",
        arch=arch,
        frequency=ghz * 1e9,
        cores=units,
        launch_seconds=LAUNCH_SECONDS,
        graph_launch_seconds=GRAPH_LAUNCH_SECONDS,
        instructions=rows,
        warp=wave,
        max_threads=BLOCK_THREADS,
        resident_threads=waves * wave,
        resident_blocks=16,
        shared_bytes=LOCAL_BYTES,
        shared_bytes_total=LOCAL_BYTES,
        registers=register_kib * KIB // 4,
        registers_per_thread=registers,
        memory_bytes=memory_gib * GIB,
        l2_bytes=l2_mib * MIB,
        l2_bandwidth=l2_gb * GB,
        dram_bandwidth=dram_gb * GB,
        sector_bytes=line,
    )


_MI50 = "AMD Radeon Instinct MI50 data sheet; Vega 7nm ISA guide; L2: 16 channels of 64 bytes"
_MI250 = "AMD Instinct MI250X data sheet and CDNA 2 white paper, one of its two dies; L2: 32 channels of 128 bytes"
_MI300 = "AMD Instinct MI300X data sheet and CDNA 3 white paper; L2 of eight dies: 16 channels of 128 bytes in each"
_6900 = "AMD Radeon RX 6900 XT specifications; RDNA 2 ISA guide; L2: 16 channels of 64 bytes"
_7900 = "AMD Radeon RX 7900 XTX specifications; RDNA 3 ISA guide (two operations at once are not counted on); L2: 24 channels of 64 bytes"  # noqa: E501
_9060 = "AMD Radeon RX 9060 XT specifications; RDNA 4 ISA guide; L2: 16 channels of 64 bytes"

MACHINES: tuple[Gpu, ...] = (
    _gpu(
        "gfx906", product=_MI50, units=60, ghz=1.725, wave=64, rows=(fma(64, _MI50), *dot4(64, _MI50)),
        waves=40, register_kib=256, registers=256, l2_mib=4, l2_gb=1766, dram_gb=1024, memory_gib=16, line=64,
    ),
    _gpu(
        "gfx90a", product=_MI250, units=110, ghz=1.7, wave=64,
        rows=(packed_fma(_MI250), fma(64, _MI250), *dot4(64, _MI250), *cdna2(_MI250)),
        waves=32, register_kib=512, registers=512, l2_mib=8, l2_gb=6963, dram_gb=1638, memory_gib=64, line=128,
    ),
    _gpu(
        "gfx942", product=_MI300, units=304, ghz=2.1, wave=64,
        rows=(packed_fma(_MI300), fma(64, _MI300), *dot4(64, _MI300), *cdna3(_MI300)),
        waves=32, register_kib=512, registers=512, l2_mib=32, l2_gb=34406, dram_gb=5300, memory_gib=192, line=128,
    ),
    _gpu(
        "gfx1030", product=_6900, units=80, ghz=2.25, wave=32, rows=(fma(32, _6900), *dot4(32, _6900)),
        waves=32, register_kib=256, registers=256, l2_mib=4, l2_gb=2304, dram_gb=512, memory_gib=16, line=128,
    ),
    _gpu(
        "gfx1100", product=_7900, units=96, ghz=2.5, wave=32,
        rows=(fma(32, _7900), *sudot4(32, _7900), *rdna(256, 256, 16, _7900)),
        waves=32, register_kib=384, registers=256, l2_mib=6, l2_gb=3840, dram_gb=960, memory_gib=24, line=128,
    ),
    _gpu(
        "gfx1200", product=_9060, units=32, ghz=3.13, wave=32,
        rows=(fma(32, _9060), *sudot4(32, _9060), *rdna(512, 1024, 8, _9060)),
        waves=32, register_kib=384, registers=256, l2_mib=4, l2_gb=3205, dram_gb=320, memory_gib=16, line=128,
    ),
)  # fmt: skip
BY_TAG = {machine.arch: machine for machine in MACHINES}
