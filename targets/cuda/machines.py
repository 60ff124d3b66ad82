"""NVIDIA's GPUs by compute capability, from the oldest that CUDA 13 makes code for.

Limits of blocks, threads, registers and shared memory are those of the CUDA C++ Programming Guide 13.0, table
"Technical Specifications per Compute Capability". Clock, multiprocessors and memory are those of one product of that
capability, named in its row.
"""

from __future__ import annotations

from dsc.targets.cuda.instructions import WARP, Rows, ampere, dp4a, ffma, structured, turing, wgmma
from dsc.targets.gpu.machine import Gpu

KIB, MIB, GIB, GB = 1 << 10, 1 << 20, 1 << 30, 1e9
STATIC_SHARED = 48 << 10
"""What a block has without asking for more at its launch, on every capability."""
RESERVED_SHARED = 1 << 10
"""What the system takes for each block, from capability 8.0 on; a block may ask for all but that."""
LAUNCH_SECONDS = 3e-6
"""From one short kernel of a stream to the next: an estimate, for all of these."""
GRAPH_LAUNCH_SECONDS = 1.3e-6
"""The same within a graph: measured on H100 with empty kernels (Hazy Research, Look Ma, No Bubbles, 2025); an estimate
for the others. A graph of 117 on an RTX 5070 Ti takes 0.6 us a kernel (ahrefs/ocannl, issue 488)."""


def _gpu(
    arch: str,
    *,
    product: str,
    multiprocessors: int,
    ghz: float,
    lanes: int,
    tensor: Rows,
    sparse: Rows = (),
    threads: int,
    blocks: int,
    shared_kib: int,
    l2_mib: int,
    l2_gb: float,
    dram_gb: float,
    memory_gib: int,
    copies: bool = True,
    reserved: int = RESERVED_SHARED,
) -> Gpu:
    """A row. lanes: multiply-adds of float32 per cycle. shared_kib: of a multiprocessor. l2_gb, dram_gb: GB/s. copies:
    whether it has cp.async. reserved: bytes of shared memory that the system takes for each block."""
    return Gpu(
        name=f"cuda:{arch}",
        source=f"CUDA C++ Programming Guide 13.0; {product}",
        arch=arch,
        frequency=ghz * 1e9,
        cores=multiprocessors,
        launch_seconds=LAUNCH_SECONDS,
        graph_launch_seconds=GRAPH_LAUNCH_SECONDS,
        instructions=(ffma(lanes), *dp4a(64), *tensor),
        structured=sparse,
        warp=WARP,
        max_threads=1024,
        resident_threads=threads,
        resident_blocks=blocks,
        shared_bytes=STATIC_SHARED,
        shared_bytes_total=shared_kib * KIB,
        shared_bytes_dynamic=shared_kib * KIB - reserved,
        shared_bytes_reserved=reserved,
        registers=65536,
        registers_per_thread=255,
        memory_bytes=memory_gib * GIB,
        l2_bytes=l2_mib * MIB,
        l2_bandwidth=l2_gb * GB,
        dram_bandwidth=dram_gb * GB,
        copies_to_shared=copies,
    )


_T4 = "NVIDIA T4 data sheet; Jia et al., Dissecting the NVidia Turing T4 GPU, 2019"
_A100 = (
    "NVIDIA A100 Tensor Core GPU Architecture white paper (SXM, 40 GB); L2 as measured: gpu-benches of te42kyfo, "
    "gpu-l2-cache (of 7219 GB/s by the white paper's 5120 bytes per clock)"
)
_A10 = "NVIDIA A10 data sheet; NVIDIA Ampere GA102 GPU Architecture white paper; L2 bandwidth is an estimate"
_L4 = "NVIDIA L4 data sheet; NVIDIA Ada GPU Architecture white paper; L2 bandwidth is an estimate"
_H100 = (
    "NVIDIA H100 Tensor Core GPU Architecture white paper (SXM); mma.sync reaches 62 % of wgmma's rate: "
    "Luo et al., Benchmarking and Dissecting the Nvidia Hopper GPU Architecture, 2024"
)
_B200 = "NVIDIA Blackwell Architecture technical brief (B200); L2 bandwidth and the rate of mma.sync are estimates"

MACHINES: tuple[Gpu, ...] = (
    _gpu(
        "sm_75", product=_T4, multiprocessors=40, ghz=1.59, lanes=64, tensor=turing(512, _T4),
        threads=1024, blocks=16, shared_kib=64, l2_mib=4, l2_gb=1270, dram_gb=320, memory_gib=16,
        copies=False, reserved=0,
    ),
    _gpu(
        "sm_80", product=_A100, multiprocessors=108, ghz=1.41, lanes=64, tensor=ampere(1024, _A100),
        sparse=structured(1024, _A100),
        threads=2048, blocks=32, shared_kib=164, l2_mib=40, l2_gb=5400, dram_gb=1555, memory_gib=40,
    ),
    _gpu(
        "sm_86", product=_A10, multiprocessors=72, ghz=1.695, lanes=128, tensor=ampere(512, _A10),
        sparse=structured(512, _A10),
        threads=1536, blocks=16, shared_kib=100, l2_mib=6, l2_gb=2000, dram_gb=600, memory_gib=24,
    ),
    _gpu(
        "sm_89", product=_L4, multiprocessors=58, ghz=2.04, lanes=128, tensor=ampere(512, _L4),
        sparse=structured(512, _L4),
        threads=1536, blocks=24, shared_kib=100, l2_mib=48, l2_gb=2000, dram_gb=300, memory_gib=24,
    ),
    _gpu(
        "sm_90", product=_H100, multiprocessors=132, ghz=1.83, lanes=128,
        tensor=(*wgmma(2048, _H100), *ampere(1270, _H100)), sparse=structured(1270, _H100),
        threads=2048, blocks=32, shared_kib=228, l2_mib=50, l2_gb=5500, dram_gb=3350, memory_gib=80,
    ),
    _gpu(
        "sm_100", product=_B200, multiprocessors=148, ghz=1.85, lanes=128, tensor=ampere(1024, _B200),
        sparse=structured(1024, _B200),
        threads=2048, blocks=32, shared_kib=228, l2_mib=126, l2_gb=8000, dram_gb=8000, memory_gib=180,
    ),
)  # fmt: skip
BY_TAG = {machine.arch: machine for machine in MACHINES}
DEFAULT = "sm_80"
"""What plain ``cuda`` stands for where no device says otherwise."""
