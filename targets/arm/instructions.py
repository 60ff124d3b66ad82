"""The multiply-add instructions of 64-bit Arm (Advanced SIMD), as rows. All vectors have 128 bits."""

from __future__ import annotations

from dsc.targets.machine import MultiplyAdd

A53 = "LLVM 22, AArch64SchedA53.td; Arm DDI 0500 (the floating-point pipes are 64 bits wide)"
A72 = "Arm, Cortex-A72 Software Optimization Guide UAN 0016"
A76 = "Arm, Cortex-A76 Software Optimization Guide PJDOC-466751330-7215; LLVM 22, AArch64SchedNeoverseN1.td"
N1 = "Arm, Neoverse N1 Software Optimization Guide PJDOC-466751330-9685; LLVM 22, AArch64SchedNeoverseN1.td"
V1 = "Arm, Neoverse V1 Software Optimization Guide PJDOC-466751330-9686; LLVM 22, AArch64SchedNeoverseV1.td"
V2 = "Arm, Neoverse V2 Software Optimization Guide PJDOC-466751330-593177; LLVM 22, AArch64SchedNeoverseV2.td"
M1 = "D. Johnson, Apple M1 Firestorm: SIMD and FP instructions (measured)"


def fmla(rate: float, latency: int, source: str) -> MultiplyAdd:
    """float32."""
    return MultiplyAdd(
        name="fmla", a="float32", b="float32", accumulator="float32", n=4, rate=rate, latency=latency, source=source
    )


def smlal(rate: float, latency: int, source: str) -> MultiplyAdd:
    """int16, exact in int32: what int8 has without dot products. LLVM makes it of a product and a sum."""
    return MultiplyAdd(
        name="smlal", a="int16", b="int16", accumulator="int32", n=4, rate=rate, latency=latency,
        intrinsic="llvm.aarch64.neon.smull.v4i32", accumulates=False, source=source,
    )  # fmt: skip


def dot_products(rate: float, latency: int, source: str) -> tuple[MultiplyAdd, ...]:
    """FEAT_DotProd: bytes of one sign, four at a time."""
    return (
        _bytes("sdot", "int8", "int8", rate, latency, "asimddp", source),
        _bytes("udot", "uint8", "uint8", rate, latency, "asimddp", source),
    )


def matrix_products_of_bytes(rate: float, latency: int, source: str) -> tuple[MultiplyAdd, ...]:
    """FEAT_I8MM: unsigned times signed bytes, and 2 x 8 by 8 x 2 of any but signed times unsigned ones."""
    return (
        _bytes("usdot", "uint8", "int8", rate, latency, "i8mm", source),
        _matrices_of_bytes("smmla", "int8", "int8", rate, latency, source),
        _matrices_of_bytes("ummla", "uint8", "uint8", rate, latency, source),
        _matrices_of_bytes("usmmla", "uint8", "int8", rate, latency, source),
    )


def bfloat16_products(rate: float, dot: int, matrix: int, source: str) -> tuple[MultiplyAdd, ...]:
    """FEAT_BF16, summed in float32: pairs, and 2 x 4 by 4 x 2, of these latencies."""
    return (
        MultiplyAdd(
            name="bfdot", a="bfloat16", b="bfloat16", accumulator="float32", n=4, k=2, rate=rate, latency=dot,
            intrinsic="llvm.aarch64.neon.bfdot.v4f32.v8bf16", requires=("bf16",), source=source,
        ),
        MultiplyAdd(
            name="bfmmla", a="bfloat16", b="bfloat16", accumulator="float32", m=2, n=2, k=4, rate=rate, latency=matrix,
            intrinsic="llvm.aarch64.neon.bfmmla", requires=("bf16",), source=source,
        ),
    )  # fmt: skip


def _bytes(name: str, a: str, b: str, rate: float, latency: int, feature: str, source: str) -> MultiplyAdd:
    return MultiplyAdd(
        name=name, a=a, b=b, accumulator="int32", n=4, k=4, rate=rate, latency=latency,
        intrinsic=f"llvm.aarch64.neon.{name}.v4i32.v16i8", requires=(feature,), source=source,
    )  # fmt: skip


def _matrices_of_bytes(name: str, a: str, b: str, rate: float, latency: int, source: str) -> MultiplyAdd:
    return MultiplyAdd(
        name=name, a=a, b=b, accumulator="int32", m=2, n=2, k=8, rate=rate, latency=latency,
        intrinsic=f"llvm.aarch64.neon.{name}.v4i32.v16i8", requires=("i8mm",), source=source,
    )  # fmt: skip
