"""The multiply-add instructions of x86-64, as rows."""

from __future__ import annotations

from collections.abc import Callable

from dsc.targets.machine import MultiplyAdd

PIPES = 2
"""Vector multiplications started per cycle at most, however narrow they are: on every core listed."""
WIDTHS = (512, 256, 128)

INTEL = "Intel, Optimization Reference Manual 248966, port tables; uops.info"
AMD = "AMD, Software Optimization Guides 55723 (Zen 2), 56665 (Zen 3), 57647 (Zen 4), 58455 (Zen 5); uops.info"

Rows = tuple[MultiplyAdd, ...]


def fma(widest: int, bits: int, latency: int, source: str) -> Rows:
    """float32, `bits` bits of it per cycle."""
    return _in_each_width(
        widest, bits, lambda width, rate: MultiplyAdd(
            name="vfmadd231ps", a="float32", b="float32", accumulator="float32",
            n=width // 32, rate=rate, latency=latency, source=source,
        ),
    )  # fmt: skip


def mul_add(bits: int, latency: int, source: str) -> Rows:
    """float32 without FMA, in 128 bits: `bits` bits of both together per cycle, one after the other."""
    return _in_each_width(
        128, bits, lambda width, rate: MultiplyAdd(
            name="mulps", a="float32", b="float32", accumulator="float32",
            n=width // 32, rate=rate, latency=latency, accumulates=False, source=source,
        ),
    )  # fmt: skip


def pmaddwd(widest: int, bits: int, latency: int, source: str) -> Rows:
    """int16 in pairs, exact in int32 for what were 8 bits: what int8 has without VNNI.

    vpmaddubsw would take bytes, but saturates sums of two at 16 bits. Rate and latency are those with the addition
    behind it: of three vector operations a cycle, half are such additions.
    """
    names = {512: "llvm.x86.avx512.pmaddw.d.512", 256: "llvm.x86.avx2.pmadd.wd", 128: "llvm.x86.sse2.pmadd.wd"}
    return _in_each_width(
        widest, bits, lambda width, rate: MultiplyAdd(
            name="pmaddwd", a="int16", b="int16", accumulator="int32", n=width // 32, k=2,
            rate=rate, latency=latency, intrinsic=names[width], accumulates=False, source=source,
        ),
    )  # fmt: skip


def vpdpbusd(widest: int, bits: int, latency: int, source: str) -> Rows:
    """VNNI: unsigned times signed bytes, four at a time. In up to 256 bits it has a form without AVX-512."""
    requires = ("avx512f", "avx512vl", "avx512_vnni") if widest == 512 else ("avx_vnni",)
    return _in_each_width(
        widest, bits, lambda width, rate: MultiplyAdd(
            name="vpdpbusd", a="uint8", b="int8", accumulator="int32", n=width // 32, k=4,
            rate=rate, latency=latency, intrinsic=f"llvm.x86.avx512.vpdpbusd.{width}", requires=requires, source=source,
        ),
    )  # fmt: skip


def vdpbf16ps(widest: int, bits: int, latency: int, source: str) -> Rows:
    """bfloat16 in pairs, summed in float32."""
    return _in_each_width(
        widest, bits, lambda width, rate: MultiplyAdd(
            name="vdpbf16ps", a="bfloat16", b="bfloat16", accumulator="float32", n=width // 32, k=2,
            rate=rate, latency=latency, intrinsic=f"llvm.x86.avx512bf16.dpbf16ps.{width}",
            requires=("avx512f", "avx512bw", "avx512vl", "avx512_bf16"), source=source,
        ),
    )  # fmt: skip


def _in_each_width(widest: int, bits: int, row: Callable[[int, float], MultiplyAdd]) -> Rows:
    """Rows by width of the vector and instructions per cycle, of which `bits` bits are started in each."""
    return tuple(row(width, min(float(PIPES), bits / width)) for width in WIDTHS if width <= widest)
