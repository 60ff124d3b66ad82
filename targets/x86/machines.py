"""x86 machines by tag."""

from __future__ import annotations

from dataclasses import replace

from dsc.targets.cpu.byte_table import ByteTable
from dsc.targets.cpu.machine import Cpu
from dsc.targets.cpu.pool import LAUNCH_SECONDS
from dsc.targets.x86.instructions import AMD, INTEL, PIPES, Rows, fma, mul_add, pmaddwd, vdpbf16ps, vpdpbusd

FEATURES: dict[str, str] = {
    "sse4_1": "sse4.1", "sse4_2": "sse4.2", "popcnt": "popcnt", "avx": "avx", "avx2": "avx2", "fma": "fma",
    "f16c": "f16c", "bmi1": "bmi", "bmi2": "bmi2", "movbe": "movbe", "abm": "lzcnt", "gfni": "gfni",
    "avx512f": "avx512f", "avx512bw": "avx512bw", "avx512cd": "avx512cd", "avx512dq": "avx512dq",
    "avx512vl": "avx512vl", "avx512vbmi": "avx512vbmi", "avx512ifma": "avx512ifma", "avx512_vbmi2": "avx512vbmi2",
    "avx512_bitalg": "avx512bitalg", "avx512_vpopcntdq": "avx512vpopcntdq", "avx512_vnni": "avx512vnni",
    "avx_vnni": "avxvnni", "avx512_bf16": "avx512bf16", "avx512_fp16": "avx512fp16", "amx_tile": "amx-tile",
    "amx_int8": "amx-int8", "amx_bf16": "amx-bf16",
}  # fmt: skip
"""What code may use: LLVM's names of features by those of Linux. Others have no instructions for such code."""

_SSE42 = frozenset("sse4_1 sse4_2 popcnt".split())
_AVX2 = _SSE42 | frozenset("avx avx2 fma f16c bmi1 bmi2 movbe abm".split())
_AVX512 = _AVX2 | frozenset("avx512f avx512bw avx512cd avx512dq avx512vl".split())
_VNNI = _AVX512 | {"avx512_vnni"}
_ICELAKE = _VNNI | frozenset("gfni avx512vbmi avx512ifma avx512_vbmi2 avx512_bitalg avx512_vpopcntdq".split())
_BF16 = _ICELAKE | {"avx512_bf16"}
_AMX = _BF16 | frozenset("avx512_fp16 amx_tile amx_int8 amx_bf16 avx_vnni".split())

VECTORS: dict[int, frozenset[str]] = {
    128: _SSE42,
    256: _SSE42 | {"avx", "avx2", "fma"},
    512: _SSE42 | frozenset("avx avx2 fma f16c avx512f avx512bw avx512dq avx512vl".split()),
}
"""Features without which kernels are not written for vectors of so many bits; code does without any other."""

LLVM_OPTIONS = ("-x86-machine-combiner=false",)
"""Sums of integers stay in the order in which kernels add them: LLVM would add the products of several steps to one
another first, for which a register tile has no registers."""
KIB, MIB, GB = 1 << 10, 1 << 20, 1e9
INTEL_L3, AMD_L3 = 12, 24
"""Bytes per cycle that one core reads from L3: a mesh or ring, and a cache of a complex of eight cores."""


VPERMI2B = ByteTable("vpermi2b", lanes=64, cycles=4.0, source=f"{AMD}; {INTEL}")
"""Two permutations, a comparison and a choice."""


def with_extras(machine: Cpu) -> Cpu:
    """A machine with what its features bring besides products: conversions, and tables in registers."""
    looks_up = machine.vector_bits == 8 * VPERMI2B.lanes and machine.has("avx512vbmi")
    return replace(
        machine,
        converts_float16=machine.has("f16c"),
        rounds_bfloat16=machine.has("avx512_bf16"),
        byte_table=VPERMI2B if looks_up else None,
    )


def _cpu(
    tag: str,
    *,
    mcpu: str,
    features: frozenset[str],
    vector_bits: int,
    instructions: Rows,
    load_bits: int,
    l3_bytes_per_cycle: int,
    ghz: float,
    cores: int,
    l1_kib: int,
    l2_kib: int,
    l3_mib: int,
    dram_gb: float,
    source: str,
) -> Cpu:
    """A row. Clock, cores, L3 and memory are those of a typical part; the rest is the microarchitecture's.

    load_bits: from L1 per cycle. dram_gb: GB/s that one core reads; all together read twice as much.
    """
    hertz = ghz * 1e9
    multiply = instructions[0]
    machine = Cpu(
        name=f"x86:{tag}",
        source=source,
        mcpu=mcpu,
        triple="x86_64-unknown-linux-gnu",
        features=features,
        vector_bits=vector_bits,
        vector_registers=32 if vector_bits == 512 else 16,
        vector_rate=multiply.rate * multiply.n * 32 / vector_bits,
        pipes=PIPES,
        broadcast_operand="avx512vl" in features,
        widening_loads=True,
        llvm_options=LLVM_OPTIONS,
        instructions=instructions,
        load_bits=load_bits,
        frequency=hertz,
        cores=cores,
        launch_seconds=LAUNCH_SECONDS,
        l1_bytes=l1_kib * KIB,
        l2_bytes=l2_kib * KIB,
        l3_bytes=l3_mib * MIB,
        l1_bandwidth=load_bits / 8 * hertz,
        l2_bandwidth=(48 if vector_bits == 512 else 32) * hertz,
        l3_bandwidth=l3_bytes_per_cycle * hertz,
        dram_bandwidth=dram_gb * GB,
        dram_bandwidth_total=dram_gb * GB * 2,
    )
    return with_extras(machine)


_HASWELL = _cpu(
    "haswell", mcpu="haswell", features=_AVX2, vector_bits=256, load_bits=512, l3_bytes_per_cycle=INTEL_L3,
    ghz=3.2, cores=4, l1_kib=32, l2_kib=256, l3_mib=8, dram_gb=12,
    instructions=(*fma(256, 512, 5, INTEL), *pmaddwd(256, 256, 1, INTEL)), source=INTEL,
)  # fmt: skip
_SKYLAKE_SERVER = (*fma(512, 1024, 4, INTEL), *pmaddwd(512, 1024, 1, INTEL))
_CASCADELAKE = (*_SKYLAKE_SERVER, *vpdpbusd(512, 1024, 5, INTEL))
_SAPPHIRE_RAPIDS = (*_CASCADELAKE, *vdpbf16ps(512, 512, 6, INTEL))
_ZEN4 = (*fma(512, 512, 4, AMD), *pmaddwd(512, 512, 1, AMD), *vpdpbusd(512, 512, 4, AMD), *vdpbf16ps(512, 512, 6, AMD))
_ZEN5 = (
    *fma(512, 1024, 4, AMD), *pmaddwd(512, 1024, 1, AMD), *vpdpbusd(512, 1024, 4, AMD), *vdpbf16ps(512, 1024, 6, AMD),
)  # fmt: skip

MACHINES: tuple[Cpu, ...] = (
    _cpu(
        "x86-64-v2", mcpu="x86-64-v2", features=_SSE42, vector_bits=128, load_bits=256, l3_bytes_per_cycle=INTEL_L3,
        ghz=2.5, cores=4, l1_kib=32, l2_kib=256, l3_mib=8, dram_gb=10,
        instructions=(*mul_add(256, 5, INTEL), *pmaddwd(128, 128, 1, INTEL)),
        source=f"as Nehalem to Ivy Bridge: {INTEL}",
    ),
    replace(_HASWELL, name="x86:x86-64-v3", mcpu="x86-64-v3"),
    _cpu(
        "x86-64-v4", mcpu="x86-64-v4", features=_AVX512, vector_bits=512, load_bits=1024, l3_bytes_per_cycle=INTEL_L3,
        ghz=2.6, cores=8, l1_kib=32, l2_kib=1024, l3_mib=16, dram_gb=12,
        instructions=_SKYLAKE_SERVER, source=f"as Skylake-SP: {INTEL}",
    ),
    replace(_HASWELL, name="x86:avx2"),
    _HASWELL,
    replace(_HASWELL, name="x86:broadwell", mcpu="broadwell"),
    _cpu(
        "skylake", mcpu="skylake", features=_AVX2, vector_bits=256, load_bits=512, l3_bytes_per_cycle=INTEL_L3,
        ghz=3.6, cores=4, l1_kib=32, l2_kib=256, l3_mib=8, dram_gb=14,
        instructions=(*fma(256, 512, 4, INTEL), *pmaddwd(256, 384, 1, INTEL)), source=INTEL,
    ),
    _cpu(
        "alderlake", mcpu="alderlake", features=_AVX2 | {"gfni", "avx_vnni"}, vector_bits=256, load_bits=768,
        l3_bytes_per_cycle=INTEL_L3, ghz=4.0, cores=8, l1_kib=48, l2_kib=1280, l3_mib=24, dram_gb=20,
        instructions=(*fma(256, 512, 4, INTEL), *pmaddwd(256, 384, 1, INTEL), *vpdpbusd(256, 512, 5, INTEL)),
        source=INTEL,
    ),
    _cpu(
        "znver2", mcpu="znver2", features=_AVX2, vector_bits=256, load_bits=512, l3_bytes_per_cycle=AMD_L3,
        ghz=3.3, cores=8, l1_kib=32, l2_kib=512, l3_mib=16, dram_gb=20,
        instructions=(*fma(256, 512, 5, AMD), *pmaddwd(256, 256, 1, AMD)), source=AMD,
    ),
    _cpu(
        "znver3", mcpu="znver3", features=_AVX2, vector_bits=256, load_bits=512, l3_bytes_per_cycle=AMD_L3,
        ghz=3.5, cores=8, l1_kib=32, l2_kib=512, l3_mib=32, dram_gb=22,
        instructions=(*fma(256, 512, 4, AMD), *pmaddwd(256, 384, 1, AMD)), source=AMD,
    ),
    _cpu(
        "znver4", mcpu="znver4", features=_BF16, vector_bits=512, load_bits=512, l3_bytes_per_cycle=AMD_L3,
        ghz=3.5, cores=8, l1_kib=32, l2_kib=1024, l3_mib=32, dram_gb=25, instructions=_ZEN4, source=AMD,
    ),
    _cpu(
        "znver5", mcpu="znver5", features=_BF16 | {"avx_vnni"}, vector_bits=512, load_bits=1024,
        l3_bytes_per_cycle=AMD_L3, ghz=3.6, cores=8, l1_kib=48, l2_kib=1024, l3_mib=32, dram_gb=36,
        instructions=_ZEN5, source=AMD,
    ),
    _cpu(
        "skylake-avx512", mcpu="skylake-avx512", features=_AVX512, vector_bits=512, load_bits=1024,
        l3_bytes_per_cycle=INTEL_L3, ghz=2.4, cores=8, l1_kib=32, l2_kib=1024, l3_mib=16, dram_gb=12,
        instructions=_SKYLAKE_SERVER, source=INTEL,
    ),
    _cpu(
        "cascadelake", mcpu="cascadelake", features=_VNNI, vector_bits=512, load_bits=1024,
        l3_bytes_per_cycle=INTEL_L3, ghz=2.6, cores=8, l1_kib=32, l2_kib=1024, l3_mib=16, dram_gb=13,
        instructions=_CASCADELAKE, source=INTEL,
    ),
    _cpu(
        "icelake", mcpu="icelake-server", features=_ICELAKE, vector_bits=512, load_bits=1024,
        l3_bytes_per_cycle=INTEL_L3, ghz=2.8, cores=8, l1_kib=48, l2_kib=1280, l3_mib=24, dram_gb=14,
        instructions=_CASCADELAKE, source=INTEL,
    ),
    _cpu(
        "sapphirerapids", mcpu="sapphirerapids", features=_AMX, vector_bits=512, load_bits=1024,
        l3_bytes_per_cycle=INTEL_L3, ghz=2.8, cores=8, l1_kib=48, l2_kib=2048, l3_mib=32, dram_gb=14,
        instructions=_SAPPHIRE_RAPIDS, source=INTEL,
    ),
    _cpu(
        "graniterapids", mcpu="graniterapids", features=_AMX, vector_bits=512, load_bits=1024,
        l3_bytes_per_cycle=INTEL_L3, ghz=2.9, cores=8, l1_kib=48, l2_kib=2048, l3_mib=64, dram_gb=18,
        instructions=_SAPPHIRE_RAPIDS, source=INTEL,
    ),
)  # fmt: skip
BY_TAG = {machine.name.removeprefix("x86:"): machine for machine in MACHINES}

INTEL_LINE = tuple(
    BY_TAG[tag]
    for tag in (
        "graniterapids", "sapphirerapids", "alderlake", "icelake", "cascadelake", "skylake-avx512", "skylake",
        "broadwell", "haswell",
    )
)  # fmt: skip
AMD_LINE = tuple(BY_TAG[tag] for tag in ("znver5", "znver4", "znver3", "znver2"))
LEVELS = tuple(BY_TAG[tag] for tag in ("x86-64-v4", "x86-64-v3", "x86-64-v2"))
"""Newest first: what a host is taken for where it lacks the vectors of those before it."""
SAME_CORES = {
    "arrowlake": "alderlake", "cooperlake": "cascadelake", "emeraldrapids": "sapphirerapids",
    "icelake-client": "icelake-server", "meteorlake": "alderlake", "raptorlake": "alderlake",
    "rocketlake": "icelake-server", "tigerlake": "icelake-server", "znver1": "znver2",
}  # fmt: skip
"""Processors that LLVM tells apart (X86TargetParser) and whose figures are about those of one listed."""
