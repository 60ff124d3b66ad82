"""64-bit Arm machines by tag.

SVE is not used: where it is there (Neoverse V1: 256 bits, V2: 128), its multipliers are those of Advanced SIMD, and as
many products start per cycle with either.
"""

from __future__ import annotations

from dataclasses import replace

from dsc.targets.arm.instructions import (
    A53,
    A72,
    A76,
    M1,
    N1,
    V1,
    V2,
    bfloat16_products,
    dot_products,
    fmla,
    matrix_products_of_bytes,
    smlal,
)
from dsc.targets.cpu.byte_table import ByteTable
from dsc.targets.cpu.machine import Cpu
from dsc.targets.cpu.pool import LAUNCH_SECONDS
from dsc.targets.machine import MultiplyAdd

FEATURES: dict[str, str] = {
    "asimd": "neon", "fp": "fp-armv8", "asimddp": "dotprod", "asimdhp": "fullfp16", "fphp": "fullfp16",
    "atomics": "lse", "asimdrdm": "rdm", "lrcpc": "rcpc", "ilrcpc": "rcpc-immo", "fcma": "complxnum",
    "jscvt": "jsconv", "asimdfhm": "fp16fml", "flagm": "flagm", "flagm2": "altnzcv", "frint": "fptoint",
    "sha3": "sha3", "sve": "sve", "sve2": "sve2", "svebitperm": "sve-bitperm", "i8mm": "i8mm", "bf16": "bf16",
}  # fmt: skip
"""What code may use: LLVM's names of features by those of Linux. Others have no instructions for such code."""

_V8 = frozenset("fp asimd".split())
_V82 = _V8 | frozenset("atomics asimdrdm fphp asimdhp lrcpc asimddp".split())
_V84 = _V82 | frozenset("asimdfhm fcma jscvt ilrcpc flagm".split())
_V1 = _V84 | frozenset("sve i8mm bf16 sha3".split())
_V2 = _V84 | frozenset("sve i8mm bf16 sve2 svebitperm flagm2 frint".split())
_M1 = _V84 | frozenset("sha3 flagm2 frint".split())

KIB, MIB, GB = 1 << 10, 1 << 20, 1e9
VECTOR_BITS = 128
TBL = ByteTable("tbl", lanes=16, cycles=16.0, source=f"{A72}; {A76}; {N1}")
"""Four lookups in four registers each, some of which wait for two cycles; newer cores take half as long."""


def _cpu(
    tag: str,
    *,
    mcpu: str,
    features: frozenset[str],
    instructions: tuple[MultiplyAdd, ...],
    pipes: int,
    issue: int,
    window: int,
    loads: float,
    l2_bytes_per_cycle: int,
    l3_bytes_per_cycle: int,
    ghz: float,
    cores: int,
    l1_kib: int,
    l1_ways: int,
    l2_kib: int,
    l3_mib: int,
    dram_gb: float,
    dram_gb_total: float,
    source: str,
) -> Cpu:
    """A row. Clock, cores, caches beyond L1 and memory are those of a typical part; the rest is the core's.

    loads: of 128 bits per cycle. dram_gb: GB/s that one core reads, and that all do.
    """
    hertz = ghz * 1e9
    return Cpu(
        name=f"arm:{tag}",
        source=source,
        mcpu=mcpu,
        triple="aarch64-linux-gnu",
        features=features,
        vector_bits=VECTOR_BITS,
        vector_registers=32,
        vector_rate=instructions[0].rate,
        pipes=pipes,
        issue=issue,
        window=window,
        lane_operand=True,
        byte_table=TBL,
        instructions=instructions,
        load_bits=int(loads * VECTOR_BITS),
        broadcasts=max(1, int(loads)),
        frequency=hertz,
        cores=cores,
        launch_seconds=LAUNCH_SECONDS,
        l1_bytes=l1_kib * KIB,
        l1_ways=l1_ways,
        l1_way_bytes=l1_kib * KIB // l1_ways,
        l2_bytes=l2_kib * KIB,
        l3_bytes=l3_mib * MIB,
        l1_bandwidth=loads * VECTOR_BITS / 8 * hertz,
        l2_bandwidth=l2_bytes_per_cycle * hertz,
        l3_bandwidth=l3_bytes_per_cycle * hertz,
        dram_bandwidth=dram_gb * GB,
        dram_bandwidth_total=dram_gb_total * GB,
    )


_A72 = _cpu(
    "cortex-a72", mcpu="cortex-a72", features=_V8, pipes=2, issue=3, window=128, loads=1,
    l2_bytes_per_cycle=16, l3_bytes_per_cycle=0, ghz=1.5, cores=4, l1_kib=32, l1_ways=2, l2_kib=1024, l3_mib=0,
    dram_gb=3.5, dram_gb_total=4.5, instructions=(fmla(1.0, 7, A72), smlal(1.0, 4, A72)),
    source=f"{A72}; the rest as in BCM2711",
)  # fmt: skip
_N1_ROWS = (fmla(2.0, 4, N1), *dot_products(2.0, 3, N1), smlal(1.0, 4, N1))
_V1_ROWS = (
    fmla(4.0, 4, V1), *matrix_products_of_bytes(4.0, 3, V1), *dot_products(4.0, 3, V1),
    *bfloat16_products(4.0, 4, 5, V1), smlal(2.0, 4, V1),
)  # fmt: skip
_V2_ROWS = (
    fmla(4.0, 4, V2), *matrix_products_of_bytes(4.0, 3, V2), *dot_products(4.0, 3, V2),
    *bfloat16_products(4.0, 4, 6, V2), smlal(2.0, 4, V2),
)  # fmt: skip

MACHINES: tuple[Cpu, ...] = (
    replace(
        _A72, name="arm:armv8-a", mcpu="generic", source=f"any 64-bit Arm; figures as Cortex-A72: {A72}",
    ),
    _cpu(
        "cortex-a53", mcpu="cortex-a53", features=_V8, pipes=1, issue=2, window=4, loads=0.5,
        l2_bytes_per_cycle=8, l3_bytes_per_cycle=0, ghz=1.4, cores=4, l1_kib=32, l1_ways=4, l2_kib=512, l3_mib=0,
        dram_gb=1.5, dram_gb_total=2.5, instructions=(fmla(1.0, 10, A53), smlal(1.0, 6, A53)),
        source=f"{A53}; the rest as in BCM2837",
    ),
    _A72,
    _cpu(
        "cortex-a76", mcpu="cortex-a76", features=_V82, pipes=2, issue=4, window=128, loads=2,
        l2_bytes_per_cycle=32, l3_bytes_per_cycle=16, ghz=2.4, cores=4, l1_kib=64, l1_ways=4, l2_kib=512, l3_mib=2,
        dram_gb=8, dram_gb_total=12,
        instructions=(fmla(2.0, 4, A76), *dot_products(2.0, 3, A76), smlal(1.0, 4, A76)),
        source=f"{A76}; the rest as in BCM2712",
    ),
    _cpu(
        "neoverse-n1", mcpu="neoverse-n1", features=_V82, pipes=2, issue=4, window=128, loads=2,
        l2_bytes_per_cycle=32, l3_bytes_per_cycle=16, ghz=2.5, cores=8, l1_kib=64, l1_ways=4, l2_kib=1024, l3_mib=32,
        dram_gb=15, dram_gb_total=100, instructions=_N1_ROWS, source=f"{N1}; the rest as in Graviton2, 8 of its cores",
    ),
    _cpu(
        "neoverse-v1", mcpu="neoverse-v1", features=_V1, pipes=4, issue=8, window=256, loads=3,
        l2_bytes_per_cycle=64, l3_bytes_per_cycle=16, ghz=2.6, cores=8, l1_kib=64, l1_ways=4, l2_kib=1024, l3_mib=32,
        dram_gb=20, dram_gb_total=150, instructions=_V1_ROWS, source=f"{V1}; the rest as in Graviton3, 8 of its cores",
    ),
    _cpu(
        "neoverse-v2", mcpu="neoverse-v2", features=_V2, pipes=4, issue=8, window=320, loads=3,
        l2_bytes_per_cycle=64, l3_bytes_per_cycle=16, ghz=2.8, cores=8, l1_kib=64, l1_ways=4, l2_kib=2048, l3_mib=36,
        dram_gb=25, dram_gb_total=200, instructions=_V2_ROWS, source=f"{V2}; the rest as in Graviton4, 8 of its cores",
    ),
    _cpu(
        "apple-m1", mcpu="apple-m1", features=_M1, pipes=4, issue=8, window=630, loads=3,
        l2_bytes_per_cycle=32, l3_bytes_per_cycle=16, ghz=3.2, cores=4, l1_kib=128, l1_ways=8, l2_kib=3072, l3_mib=8,
        dram_gb=55, dram_gb_total=60,
        instructions=(fmla(4.0, 4, M1), *dot_products(4.0, 3, M1), smlal(4.0, 3, M1)),
        source=f"{M1}; under Linux, performance cores only, each with its share of their L2",
    ),
)  # fmt: skip
BY_TAG = {machine.name.removeprefix("arm:"): machine for machine in MACHINES}
