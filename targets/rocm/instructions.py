"""The multiply-add instructions of AMD's compute units, as rows.

All are of a wavefront, so what its 64 or 32 threads do is one instruction. Rates are instructions that a compute unit
starts per cycle, all its vector units together. Matrix instructions take vectors of registers of each thread; how the
matrices lie in them is in the instruction set's guide.
"""

from __future__ import annotations

from dsc.targets.machine import SIGNS, MultiplyAdd

Rows = tuple[MultiplyAdd, ...]

FLOAT = "float32"
MATRIX_CALCULATOR = "AMD Matrix Instruction Calculator (passes of 4 cycles); LLVM 22, IntrinsicsAMDGPU.td"
_LLVM = "llvm.amdgcn"


def fma(wave: int, source: str) -> MultiplyAdd:
    """float32: 64 multiply-adds per cycle of a compute unit on all of these. The latency is a wavefront's turn."""
    return MultiplyAdd(
        name="v_fma_f32", a=FLOAT, b=FLOAT, accumulator=FLOAT, n=wave, rate=64 / wave, latency=256 // wave,
        source=source,
    )  # fmt: skip


def packed_fma(source: str) -> MultiplyAdd:
    """float32, two registers of each operand at a time; LLVM makes it of neighbouring products."""
    return MultiplyAdd(
        name="v_pk_fma_f32", a=FLOAT, b=FLOAT, accumulator=FLOAT, n=128, rate=1.0, latency=4, source=source,
    )  # fmt: skip


def dot4(wave: int, source: str) -> Rows:
    """Bytes of the same sign, four at a time, summed in int32."""
    rows = (("v_dot4_i32_i8", "int8", "sdot4"), ("v_dot4_u32_u8", "uint8", "udot4"))
    return tuple(_dot4(name, element, element, wave, intrinsic, source) for name, element, intrinsic in rows)


def sudot4(wave: int, source: str) -> Rows:
    """Bytes of any signs, which the instruction is told, four at a time, summed in int32."""
    return tuple(_dot4("v_dot4_i32_iu8", a, b, wave, "sudot4", source) for a, b in SIGNS)


def _dot4(name: str, a: str, b: str, wave: int, intrinsic: str, source: str) -> MultiplyAdd:
    return MultiplyAdd(
        name=name, a=a, b=b, accumulator="int32", n=wave, k=4, rate=64 / wave, latency=256 // wave,
        intrinsic=f"{_LLVM}.{intrinsic}", source=source,
    )  # fmt: skip


def mfma(element: str, size: int, k: int, passes: int, intrinsic: str, source: str) -> MultiplyAdd:
    """A product of `size` rows and columns on one of the four matrix cores, which it keeps busy for so many passes."""
    return MultiplyAdd(
        name=f"v_{intrinsic.replace('.', '_')}", a=element, b=element,
        accumulator="int32" if element == "int8" else FLOAT, m=size, n=size, k=k,
        rate=4 / (4 * passes), latency=4 * passes, intrinsic=f"{_LLVM}.{intrinsic}",
        source=f"{source}; {MATRIX_CALCULATOR}",
    )  # fmt: skip


def wmma(a: str, b: str, total: str, products: int, intrinsic: str, operands: str, source: str) -> MultiplyAdd:
    """A product of 16 rows, columns and depth, summed in `total`; a compute unit does `products` multiply-adds per
    cycle. operands: types with which LLVM's name ends."""
    rate = products / 16**3
    return MultiplyAdd(
        name=f"v_{intrinsic.replace('.', '_')}", a=a, b=b, accumulator=total, m=16, n=16, k=16,
        rate=rate, latency=round(2 / rate), intrinsic=f"{_LLVM}.{intrinsic}{operands}", source=source,
    )  # fmt: skip


def cdna2(source: str) -> Rows:
    """Matrix cores of gfx90a; bfloat16 in the form with four values of each operand in a thread."""
    return (
        mfma("float16", 32, 8, 16, "mfma.f32.32x32x8f16", source),
        mfma("float16", 16, 16, 8, "mfma.f32.16x16x16f16", source),
        mfma("bfloat16", 32, 8, 16, "mfma.f32.32x32x8bf16.1k", source),
        mfma("bfloat16", 16, 16, 8, "mfma.f32.16x16x16bf16.1k", source),
        mfma(FLOAT, 32, 2, 16, "mfma.f32.32x32x2f32", source),
        mfma(FLOAT, 16, 4, 8, "mfma.f32.16x16x4f32", source),
        mfma("int8", 32, 8, 16, "mfma.i32.32x32x8i8", source),
        mfma("int8", 16, 16, 8, "mfma.i32.16x16x16i8", source),
    )


def cdna3(source: str) -> Rows:
    """Matrix cores of gfx942: those of gfx90a in half the passes, but for float32; tf32; bytes in twice the depth."""
    return (
        mfma("float16", 32, 8, 8, "mfma.f32.32x32x8f16", source),
        mfma("float16", 16, 16, 4, "mfma.f32.16x16x16f16", source),
        mfma("bfloat16", 32, 8, 8, "mfma.f32.32x32x8bf16.1k", source),
        mfma("bfloat16", 16, 16, 4, "mfma.f32.16x16x16bf16.1k", source),
        mfma("tfloat32", 32, 4, 8, "mfma.f32.32x32x4.xf32", source),
        mfma("tfloat32", 16, 8, 4, "mfma.f32.16x16x8.xf32", source),
        mfma(FLOAT, 32, 2, 16, "mfma.f32.32x32x2f32", source),
        mfma(FLOAT, 16, 4, 8, "mfma.f32.16x16x4f32", source),
        mfma("int8", 32, 16, 8, "mfma.i32.32x32x16.i8", source),
        mfma("int8", 16, 32, 4, "mfma.i32.16x16x32.i8", source),
    )


def rdna(halves: int, bytes_: int, elements: int, source: str) -> Rows:
    """Matrix instructions of RDNA 3 and 4: multiply-adds per cycle of half precision, and of bytes. elements: of an
    operand of half precision that a thread has, 16 where both halves of the wavefront have the same, else 8."""
    words = elements // 4
    return (
        wmma("float16", "float16", FLOAT, halves, "wmma.f32.16x16x16.f16", f".v8f32.v{elements}f16", source),
        wmma("bfloat16", "bfloat16", FLOAT, halves, "wmma.f32.16x16x16.bf16", f".v8f32.v{elements}i16", source),
        *(wmma(*signs, "int32", bytes_, "wmma.i32.16x16x16.iu8", f".v8i32.v{words}i32", source) for signs in SIGNS),
    )
