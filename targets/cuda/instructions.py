"""The multiply-add instructions of NVIDIA's multiprocessors, as rows.

All are of a warp, so what 32 threads do is one instruction. Rates are instructions that a multiprocessor starts per
cycle.
"""

from __future__ import annotations

from dsc.targets.machine import SIGNS, MultiplyAdd

WARP = 32
GUIDE = "NVIDIA, CUDA C++ Programming Guide 13.0, table of arithmetic throughput"
PTX = "NVIDIA, PTX ISA 9.0, mma"

Rows = tuple[MultiplyAdd, ...]


def ffma(lanes: int) -> MultiplyAdd:
    """float32, `lanes` multiply-adds per cycle. The latency is that of Volta and later (Jia et al., 2018)."""
    return MultiplyAdd(
        name="ffma", a="float32", b="float32", accumulator="float32", n=WARP, rate=lanes / WARP, latency=4, source=GUIDE
    )


def dp4a(lanes: int) -> Rows:
    """Bytes of any signs, four at a time, summed in int32."""
    types = {"int8": "s32", "uint8": "u32"}
    return tuple(
        MultiplyAdd(
            name="dp4a", a=a, b=b, accumulator="int32", n=WARP, k=4, rate=lanes / WARP, latency=4,
            intrinsic=f"dp4a.{types[a]}.{types[b]}", source=GUIDE,
        )
        for a, b in SIGNS
    )  # fmt: skip


def mma(element: str, k: int, products: int, source: str) -> MultiplyAdd:
    """``mma.sync`` of 16 rows, 8 columns and a depth of `k`; all tensor cores do `products` multiply-adds per cycle."""
    types = {"float16": "f16", "bfloat16": "bf16", "tfloat32": "tf32"}
    return MultiplyAdd(
        name="mma", a=element, b=element, accumulator="float32", m=16, n=8, k=k,
        rate=products / (16 * 8 * k), latency=33,
        intrinsic=f"mma.sync.aligned.m16n8k{k}.row.col.f32.{types[element]}.{types[element]}.f32",
        source=f"{source}; {PTX}",
    )  # fmt: skip


def mma_of_bytes(m: int, k: int, products: int, source: str) -> Rows:
    """``mma.sync`` of `m` rows, 8 columns and a depth of `k`, of bytes of any signs, summed in int32."""
    types = {"int8": "s8", "uint8": "u8"}
    return tuple(
        MultiplyAdd(
            name="mma", a=a, b=b, accumulator="int32", m=m, n=8, k=k, rate=products / (m * 8 * k), latency=33,
            intrinsic=f"mma.sync.aligned.m{m}n8k{k}.row.col.s32.{types[a]}.{types[b]}.s32", source=f"{source}; {PTX}",
        )
        for a, b in SIGNS
    )  # fmt: skip


def ampere(halves: int, source: str) -> Rows:
    """Tensor cores since sm_80: `halves` multiply-adds of float16 or bfloat16 per cycle, half as many of tf32, twice as
    many of int8."""
    return (
        mma("float16", 16, halves, source),
        mma("bfloat16", 16, halves, source),
        mma("tfloat32", 8, halves // 2, source),
        *mma_of_bytes(16, 32, halves * 2, source),
    )


def structured(halves: int, source: str) -> Rows:
    """``mma.sp`` of 16 rows, half of whose elements are there, 8 columns and a depth of 32, of bytes of 64: in the time
    of a dense product of half the depth. Weights are signed bytes."""
    halves_of = {"float16": "f16", "bfloat16": "bf16"}
    rows = [(element, element, "float32", 32, f"f32.{type_}.{type_}.f32", 1) for element, type_ in halves_of.items()]
    rows += [("int8", b, "int32", 64, f"s32.s8.{type_}.s32", 2) for b, type_ in (("int8", "s8"), ("uint8", "u8"))]
    return tuple(
        MultiplyAdd(
            name="mma.sp", a=a, b=b, accumulator=total, m=16, n=8, k=k,
            rate=2 * times * halves / (16 * 8 * k), latency=33,
            intrinsic=f"mma.sp::ordered_metadata.sync.aligned.m16n8k{k}.row.col.{types}",
            source=f"{source}; {PTX}.sp",
        )
        for a, b, total, k, types, times in rows
    )  # fmt: skip


def wgmma(halves: int, source: str) -> Rows:
    """``wgmma.mma_async`` of 64 rows and a depth of 16, by the columns of a tile; all tensor cores do `halves`
    multiply-adds per cycle. The latency is that of its widest (Luo et al., 2024)."""
    types = {"float16": "f16", "bfloat16": "bf16"}
    return tuple(
        MultiplyAdd(
            name="wgmma", a=element, b=element, accumulator="float32", m=64, n=n, k=16,
            rate=halves / (64 * n * 16), latency=128,
            intrinsic=f"wgmma.mma_async.sync.aligned.m64n{n}k16.f32.{types[element]}.{types[element]}",
            source=f"{source}; NVIDIA, PTX ISA 9.0, wgmma",
        )
        for element in types
        for n in (256, 192, 128, 96, 64, 32)
    )  # fmt: skip


def turing(halves: int, source: str) -> Rows:
    """Tensor cores of sm_75: float16 and int8 only, in smaller shapes."""
    return mma("float16", 8, halves, source), *mma_of_bytes(8, 16, halves * 2, source)
