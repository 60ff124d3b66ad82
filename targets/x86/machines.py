"""x86 machines by tag. Widths, caches: the vendors' optimization manuals; bandwidths: typical of the parts."""

from __future__ import annotations

from dataclasses import dataclass, replace

from dsc.targets.machine import Machine

_SSE42 = frozenset("sse4_1 sse4_2 popcnt".split())
_AVX2 = _SSE42 | frozenset("avx avx2 fma f16c bmi1 bmi2 movbe abm".split())
_AVX512 = _AVX2 | frozenset("avx512f avx512bw avx512cd avx512dq avx512vl".split())
_VNNI = _AVX512 | {"avx512_vnni"}
_ICELAKE = _VNNI | frozenset("gfni avx512vbmi avx512ifma avx512_vbmi2 avx512_bitalg avx512_vpopcntdq".split())
_BF16 = _ICELAKE | {"avx512_bf16"}
_AMX = _BF16 | frozenset("avx512_fp16 amx_tile amx_int8 amx_bf16 avx_vnni".split())

KIB, MIB, GB = 1 << 10, 1 << 20, 1e9


@dataclass(frozen=True)
class _Core:
    """What differs between microarchitectures; the rest of `Machine` follows from it."""

    mcpu: str
    features: frozenset[str]
    vector_bits: int
    fma_bits: int
    fma_latency: int
    load_bits: int
    ghz: float
    l1_kib: int
    l2_kib: int
    l3_mib: int
    cores: int
    dram_gb: float


_AVX2_CORE = _Core("haswell", _AVX2, 256, 512, 5, 512, 3.2, 32, 256, 8, 4, 12)

CORES: dict[str, _Core] = {
    "x86-64-v2": _Core("x86-64-v2", _SSE42, 128, 256, 5, 256, 2.5, 32, 256, 8, 4, 10),
    "x86-64-v3": replace(_AVX2_CORE, mcpu="x86-64-v3"),
    "x86-64-v4": _Core("x86-64-v4", _AVX512, 512, 1024, 4, 1024, 2.6, 32, 1024, 16, 8, 12),
    "avx2": replace(_AVX2_CORE, mcpu="haswell"),
    "haswell": _AVX2_CORE,
    "broadwell": replace(_AVX2_CORE, mcpu="broadwell"),
    "skylake": _Core("skylake", _AVX2, 256, 512, 4, 512, 3.6, 32, 256, 8, 4, 14),
    "alderlake": _Core("alderlake", _AVX2, 256, 512, 4, 768, 4.0, 48, 1280, 24, 8, 20),
    "znver2": _Core("znver2", _AVX2, 256, 512, 5, 512, 3.3, 32, 512, 16, 8, 20),
    "znver3": _Core("znver3", _AVX2, 256, 512, 4, 512, 3.5, 32, 512, 32, 8, 22),
    "znver4": _Core("znver4", _BF16, 512, 512, 4, 512, 3.5, 32, 1024, 32, 8, 25),
    "znver5": _Core("znver5", _BF16, 512, 1024, 4, 1024, 3.6, 48, 1024, 32, 8, 36),
    "skylake-avx512": _Core("skylake-avx512", _AVX512, 512, 1024, 4, 1024, 2.4, 32, 1024, 16, 8, 12),
    "cascadelake": _Core("cascadelake", _VNNI, 512, 1024, 4, 1024, 2.6, 32, 1024, 16, 8, 13),
    "icelake": _Core("icelake-server", _ICELAKE, 512, 1024, 4, 1024, 2.8, 48, 1280, 24, 8, 14),
    "sapphirerapids": _Core("sapphirerapids", _AMX, 512, 1024, 4, 1024, 2.8, 48, 2048, 32, 8, 14),
    "graniterapids": _Core("graniterapids", _AMX, 512, 1024, 4, 1024, 2.9, 48, 2048, 64, 8, 18),
}


def named(tag: str) -> Machine:
    """The machine of that tag. Raises `KeyError` when there is none."""
    core = CORES[tag]
    hertz = core.ghz * 1e9
    return Machine(
        name=f"x86:{tag}",
        kind="llvm",
        mcpu=core.mcpu,
        features=core.features,
        vector_bits=core.vector_bits,
        vector_registers=32 if core.vector_bits == 512 else 16,
        fma_bits=core.fma_bits,
        fma_latency=core.fma_latency,
        load_bits=core.load_bits,
        frequency=hertz,
        cores=core.cores,
        l1_bytes=core.l1_kib * KIB,
        l2_bytes=core.l2_kib * KIB,
        l3_bytes=core.l3_mib * MIB,
        l1_bandwidth=core.load_bits / 8 * hertz,
        l2_bandwidth=(48 if core.vector_bits == 512 else 32) * hertz,
        l3_bandwidth=(24 if core.mcpu.startswith("znver") else 12) * hertz,
        dram_bandwidth=core.dram_gb * GB,
        dram_bandwidth_total=core.dram_gb * GB * 2,
        triple="x86_64-unknown-linux-gnu",
    )
