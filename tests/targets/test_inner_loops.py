"""The innermost loops of the kernels as they ship: what LLVM makes of them, so that a loss is seen without a clock."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

import pytest
from tvm import tirx

from dsc.lower.workload import Workload
from dsc.targets import Implementation, Kernel, Point, Refusal, Space, target
from dsc.targets.cpu.attention import Attention
from dsc.targets.cpu.backend import CpuBackend
from dsc.targets.cpu.conv.kernels import Depthwise, Direct, Winograd
from dsc.targets.cpu.functions import FUNCTIONS
from dsc.targets.cpu.gemm import Gemm
from dsc.targets.cpu.gemm.tiling import Tiling
from dsc.targets.cpu.generic.kernel import GenericKernel
from dsc.targets.cpu.machine import Cpu
from dsc.targets.cpu.quantized_rows import QuantizedRows
from dsc.targets.cpu.transpose import Transpose
from dsc.targets.cpu.weight_only import WeightOnly
from tests.kernels import compiled_library, machine
from tests.targets.assembly import ARM, X86, Syntax
from tests.targets.conv_regions import Case
from tests.targets.weighted import Weighted


def conv(case: Case, packed_input: bool = True) -> Callable[[Cpu], Workload]:
    """In blocks of the machine's vectors, as the layout pass has them."""

    def workload(cpu: Cpu) -> Workload:
        blocks = cpu.lanes()
        return replace(case, block=blocks if packed_input else 1, out_block=blocks, activation="Relu").workload()

    return workload


def region(text: str, weights: tuple[str, ...] = ()) -> Callable[[Cpu], Workload]:
    """The same on every machine."""
    return lambda _: Weighted(text, weights=weights).workload()


ATTENTION = """(float[12,128,64] q, float[12,64,128] k, float[12,128,64] v, float[128] mask) => (float[12,128,64] y)
    { p = MatMul(q, k) pm = Add(p, mask) w = Softmax<axis=-1>(pm) y = MatMul(w, v) }"""


def few_bits(rows: int, dtype: str, zeros: str = "") -> str:
    """A product by a weight of few bits, in groups of 64; `zeros` names its zero points."""
    third = f", {dtype}[8,512] {zeros}" if zeros else ""
    given = f"w, s, {zeros}" if zeros else "w, s"
    return f"""(float[{rows},512] x, {dtype}[512,512] w, float[8,512] s{third}) => (float[{rows},512] y)
        {{ d = DequantizeLinear<axis=0, block_size=64>({given}) y = MatMul(x, d) }}"""


def rounded(element: str, workload: Callable[[Cpu], Workload]) -> Callable[[Cpu], Workload]:
    """The same, whose activations may be rounded."""
    return lambda cpu: replace(workload(cpu), multiplied_as=element)


ROWS = "(float[128,3072] x) => (float[128,3072] y)"
"""Rows so long that LLVM does not write out all of their vectors."""

REGIONS: dict[str, tuple[Kernel[Cpu], Callable[[Cpu], Workload]]] = {
    "dense": (Gemm(), region(
        "(float[256,512] x, float[512,512] w, float[512] b) => (float[256,512] y)"
        "{ p = MatMul(x, w) s = Add(p, b) y = Relu(s) }", ("w", "b"))),
    "product": (Gemm(), region(
        "(float[12,128,64] x, float[12,64,128] z) => (float[12,128,128] y) { y = MatMul(x, z) }")),
    "signed bytes": (Gemm(), region(
        "(uint8[128,256] x, int8[256,256] w, uint8 z) => (int32[128,256] y) { y = MatMulInteger(x, w, z) }", ("w",))),
    "unsigned bytes": (Gemm(), region(
        "(uint8[128,256] x, uint8[256,256] w, uint8 z) => (int32[128,256] y) { y = MatMulInteger(x, w, z) }", ("w",))),
    "conv of bytes": (Direct(), region(
        """(uint8[1,64,28,28] x, int8[64,64,3,3] w, uint8 z) => (int32[1,64,28,28] y)
        { y = ConvInteger<kernel_shape=[3,3], pads=[1,1,1,1]>(x, w, z) }""", ("w",))),
    "one row by 4 bits": (WeightOnly(), region(few_bits(1, "int4"), ("w", "s"))),
    "four rows by bytes": (WeightOnly(), region(few_bits(4, "uint8", "z"), ("w", "s", "z"))),
    "rows by 4 bits": (WeightOnly(), region(few_bits(128, "int4"), ("w", "s"))),
    "rows in bytes": (QuantizedRows(), rounded("int8", region(few_bits(128, "int8"), ("w", "s")))),
    "rows in two bytes": (QuantizedRows(), rounded("int16", region(few_bits(128, "int8"), ("w", "s")))),
    "attention": (Attention(), region(ATTENTION)),
    "conv 3x3": (Direct(), conv(Case((1, 64, 28, 28), 64, pads=(1, 1, 1, 1)))),
    "conv 1x1": (Direct(), conv(Case((1, 64, 28, 28), 128, (1, 1)))),
    "stem": (Direct(), conv(Case((1, 3, 224, 224), 32, (3, 3), (2, 2), (1, 1, 1, 1)), packed_input=False)),
    "depthwise": (Depthwise(), conv(Case((1, 64, 56, 56), 64, pads=(1, 1, 1, 1), groups=64))),
    "winograd": (Winograd(), conv(Case((1, 64, 28, 28), 64, pads=(1, 1, 1, 1)))),
    "transpose": (Transpose(), region("(float[64,48] x) => (float[48,64] y) { y = Transpose<perm=[1,0]>(x) }")),
    "gelu": (GenericKernel(), region(f"{ROWS} {{ y = Gelu(x) }}")),
    "softmax": (GenericKernel(), region(f"{ROWS} {{ y = Softmax<axis=-1>(x) }}")),
    "layer norm": (GenericKernel(), region(
        "(float[128,3072] x, float[3072] s, float[3072] b) => (float[128,3072] y)"
        "{ y = LayerNormalization<axis=-1>(x, s, b) }")),
    "sum": (GenericKernel(), region(
        "(float[128,3072] x) => (float[128] y)"
        "{ axes = Constant<value_ints=[1]>() y = ReduceSum<keepdims=0>(x, axes) }")),
}  # fmt: skip


@dataclass(frozen=True)
class Loop:
    """A kind of innermost loop of a region's kernel, at the point of least estimate."""

    region: str
    tile: Callable[[Point], int]
    """How many of its instruction one step has; LLVM or the kernel may write out several steps."""
    without: tuple[str, ...] = ()
    """Instructions by which to know the others."""
    first: int = 0
    """Of those that are left, in the order of the code."""
    end: int | None = None


PRODUCTS, PIXELS = (lambda p: p.rows * p.vectors), (lambda p: p.width * p.vectors)
VECTORS = 4
"""What a step of the generic kernel has, where that divides the row."""

LOOPS = {
    "dense": Loop("dense", PRODUCTS),
    "product": Loop("product", PRODUCTS),
    "signed bytes": Loop("signed bytes", PRODUCTS),
    "unsigned bytes": Loop("unsigned bytes", PRODUCTS),
    "conv of bytes": Loop("conv of bytes", PIXELS),
    "one row by 4 bits": Loop("one row by 4 bits", lambda p: 8 * PRODUCTS(p.tiling)),
    "four rows by bytes": Loop("four rows by bytes", lambda p: 4 * PRODUCTS(p.tiling)),
    "floats of 4 bits": Loop("rows by 4 bits", lambda p: 8 * p.tiling.vectors, end=1),
    "rows by 4 bits": Loop("rows by 4 bits", lambda p: PRODUCTS(p.tiling), without=("cvtdq2ps", "scvtf")),
    "rows in bytes": Loop("rows in bytes", PRODUCTS),
    "rows in two bytes": Loop("rows in two bytes", lambda p: 2 * PRODUCTS(p)),
    "scores": Loop("attention", lambda p: p.keys * p.vectors, without=("subps", "fsub"), end=1),
    "exponentials": Loop("attention", lambda p: p.vectors),
    "context": Loop("attention", lambda p: p.queries * p.widths, without=("subps", "fsub"), first=1),
    "conv 3x3": Loop("conv 3x3", PIXELS),
    "conv 1x1": Loop("conv 1x1", PIXELS),
    "stem": Loop("stem", PIXELS),
    "depthwise": Loop("depthwise", lambda p: 3 * 3 * p.width, end=1),  # behind it a row's end, with fewer taps
    "winograd": Loop("winograd", PIXELS, without=("subps", "fsub")),
    "transforms": Loop("winograd", lambda p: 2),
    "transpose": Loop("transpose", lambda p: p.lanes),
    "gelu": Loop("gelu", lambda p: VECTORS),
    "softmax, largest": Loop("softmax", lambda p: VECTORS, without=("minps", "fmin")),
    "softmax, exponentials": Loop("softmax", lambda p: VECTORS),
    "layer norm": Loop("layer norm", lambda p: VECTORS),
    "sum": Loop("sum", lambda p: VECTORS),
}


@dataclass(frozen=True)
class Row:
    """What is expected of a loop on a machine: whole steps of an instruction, in vectors as wide as the machine's,
    no calls and nothing of one element."""

    loop: str
    mnemonic: str
    share: float
    """Of all instructions those that compute, at least."""
    on_stack: int = 0
    """Instructions that read or write a spilled register, at most."""
    why: str = ""
    """There are any."""


POLYNOMIAL = "what is the same in every round, such as coefficients, is more than 16 registers"
FOUR = "four polynomials at once, and their coefficients, are more than 16 registers"
AHEAD = "without fused multiply-adds LLVM begins products of the steps written out before a register is free"

EXPECTED = {
    "arm:cortex-a76": [
        Row("dense", "fmla", 0.79),
        Row("product", "fmla", 0.79),
        Row("signed bytes", "sdot", 0.79),
        Row("unsigned bytes", "udot", 0.79),
        Row("one row by 4 bits", "fmla", 0.6),
        Row("four rows by bytes", "fmla", 0.6),
        Row("floats of 4 bits", "scvtf", 0.5),
        Row("rows by 4 bits", "fmla", 0.79),
        Row("rows in bytes", "sdot", 0.5),
        Row("rows in two bytes", "sdot", 0.5),
        Row("scores", "fmla", 0.6),
        Row("exponentials", "fcmgt", 0.45),
        Row("context", "fmla", 0.6),
        Row("conv 3x3", "fmla", 0.8),
        Row("conv 1x1", "fmla", 0.8),
        Row("stem", "fmla", 0.7),
        Row("depthwise", "fmla", 0.5),
        Row("winograd", "fmla", 0.8),
    ],
    "arm:cortex-a72": [
        Row("dense", "fmla", 0.79),
        Row("signed bytes", "smlal", 0.79),
    ],
    "arm:neoverse-v1": [
        Row("dense", "fmla", 0.79),
        Row("signed bytes", "usmmla", 0.68),
        Row("unsigned bytes", "ummla", 0.68),
        Row("conv 3x3", "fmla", 0.8),
    ],
    "x86:haswell": [
        Row("dense", "vfmadd231ps", 0.5),
        Row("product", "vfmadd231ps", 0.5),
        Row("signed bytes", "vpmaddwd", 0.55),
        Row("unsigned bytes", "vpmaddwd", 0.55),
        Row("one row by 4 bits", "vfmadd231ps", 0.6),
        Row("four rows by bytes", "vfmadd231ps", 0.4),
        Row("floats of 4 bits", "vcvtdq2ps", 0.5),
        Row("rows by 4 bits", "vfmadd231ps", 0.5),
        Row("scores", "vfmadd231ps", 0.5),
        Row("exponentials", "vminps", 0.55, on_stack=3, why=POLYNOMIAL),
        Row("context", "vfmadd231ps", 0.5),
        Row("conv 3x3", "vfmadd231ps", 0.5),
        Row("conv 1x1", "vfmadd231ps", 0.5),
        Row("stem", "vfmadd231ps", 0.5),
        Row("depthwise", "vfmadd231ps", 0.55),
        Row("winograd", "vfmadd231ps", 0.55),
        Row("transforms", "vsubps", 0.4),
        Row("transpose", "vunpcklps", 0),
        Row("gelu", "vdivps", 0.55, on_stack=8, why=FOUR),
        Row("softmax, largest", "vmaxps", 0.8),
        Row("softmax, exponentials", "vminps", 0.65, on_stack=2, why=POLYNOMIAL),
        Row("layer norm", "vsubps", 0.45),
        Row("sum", "vaddps", 0.85),
    ],
    "x86:znver3": [
        Row("signed bytes", "vpmaddwd", 0.65),
        Row("conv of bytes", "vpmaddwd", 0.65),
    ],
    "x86:skylake-avx512": [  # no VNNI
        Row("signed bytes", "vpmaddwd", 0.65),
        Row("unsigned bytes", "vpmaddwd", 0.65),
    ],
    "x86:znver4": [
        Row("dense", "vfmadd231ps", 0.8),
        Row("product", "vfmadd231ps", 0.8),
        Row("signed bytes", "vpdpbusd", 0.45),  # broadcasts apart: LLVM does not make them its operands
        Row("unsigned bytes", "vpdpwssd", 0.75),  # what LLVM makes of vpmaddwd and an addition
        Row("one row by 4 bits", "vfmadd231ps", 0.6),
        Row("four rows by bytes", "vfmadd231ps", 0.5),
        Row("floats of 4 bits", "vcvtdq2ps", 0.5),
        Row("rows by 4 bits", "vfmadd231ps", 0.7),
        Row("rows in bytes", "vpdpbusd", 0.4),
        Row("rows in two bytes", "vpdpbusd", 0.4),
        Row("scores", "vfmadd231ps", 0.55),
        Row("exponentials", "vminps", 0.75),
        Row("context", "vfmadd231ps", 0.6),
        Row("conv 3x3", "vfmadd231ps", 0.8),
        Row("conv 1x1", "vfmadd231ps", 0.8),
        Row("stem", "vfmadd231ps", 0.65),
        Row("depthwise", "vfmadd231ps", 0.6),
        Row("winograd", "vfmadd231ps", 0.55),
        Row("transforms", "vsubps", 0.4),
        Row("transpose", "vunpcklps", 0),
        Row("gelu", "vdivps", 0.75),
        Row("softmax, largest", "vmaxps", 0.9),
        Row("softmax, exponentials", "vminps", 0.75),
        Row("layer norm", "vsubps", 0.45),
        Row("sum", "vaddps", 0.9),
    ],
    "x86:x86-64-v2": [
        Row("dense", "mulps", 0.5),
        Row("product", "mulps", 0.5),
        Row("signed bytes", "pmaddwd", 0.4),
        Row("unsigned bytes", "pmaddwd", 0.4),
        Row("scores", "mulps", 0.5),
        Row("exponentials", "minps", 0.6, on_stack=2, why=POLYNOMIAL),
        Row("context", "mulps", 0.5),
        Row("conv 3x3", "mulps", 0.45, on_stack=18, why=AHEAD),
        Row("conv 1x1", "mulps", 0.5, on_stack=14, why=AHEAD),
        Row("stem", "mulps", 0.45, on_stack=10, why=AHEAD),
        Row("depthwise", "mulps", 0.55),
        Row("winograd", "mulps", 0.5, on_stack=4, why=AHEAD),
        Row("transforms", "subps", 0.4),
        Row("transpose", "unpcklps", 0),
        Row("gelu", "divps", 0.6, on_stack=8, why=FOUR),
        Row("softmax, largest", "maxps", 0.4),
        Row("softmax, exponentials", "minps", 0.65, on_stack=1, why=POLYNOMIAL),
        Row("layer norm", "subps", 0.45),
        Row("sum", "addps", 0.4),
    ],
}
CASES = [pytest.param(tag, row, id=f"{tag}-{row.loop}") for tag, rows in EXPECTED.items() for row in rows]


def space_of(name: str, cpu: Cpu) -> Space:
    """The design space of a region."""
    kernel, workload = REGIONS[name]
    space = kernel.match(workload(cpu), cpu)
    assert not isinstance(space, Refusal), f"{name}: {space.reason}"
    return space


@cache
def shipped(name: str, tag: str) -> tuple[Point, str]:
    """The point of least estimate, and its assembly; of an attention, without the loops that look at a mask ahead of
    the tasks, whose instructions are the same."""
    space = space_of(name, machine(tag))
    point = min(space.points(), key=space.estimate)
    if name == "attention":
        point = replace(point, skipped=0)
    return point, assembly(space.build(point), target(tag).backend())


def assembly(implementation: Implementation, backend: CpuBackend) -> str:
    """Of one kernel by itself."""
    return backend.assembly(compiled_library({"kernel": implementation.func}, backend))


def syntax(tag: str) -> Syntax:
    """That of the machine's assembly."""
    return {"arm": ARM, "x86": X86}[tag.partition(":")[0]]


def faults(row: Row, point: Point, code: str, bits: int, as_written: Syntax = X86) -> list[str]:
    """What is not as the row says of the loops in `code`, that of `point`; vectors are to have so many bits."""
    expected = LOOPS[row.loop]
    loops = as_written.innermost_loops(code, row.mnemonic)
    found = [x for x in loops if not any(as_written.count(x, other) for other in expected.without)]
    loops = found[expected.first : expected.end]
    if not loops:
        return [f"no loop has {row.mnemonic}"]
    return [fault for loop in loops for fault in _faults(row, expected.tile(point), loop, bits, as_written)]


def _faults(row: Row, tile: int, loop: list[str], bits: int, as_written: Syntax = X86) -> list[str]:
    number, stack = as_written.count(loop, row.mnemonic), len(as_written.on_stack(loop))
    share, widths = as_written.computing(loop) / len(loop), as_written.widths(loop)
    calls, scalars = as_written.calls(loop), as_written.scalar_arithmetic(loop)
    checks = {
        f"{number} times {row.mnemonic}, which are no steps of {tile}": number % tile == 0,
        f"vectors of {sorted(widths)} bits": widths == {bits},
        f"{stack} instructions on the stack": stack <= row.on_stack,
        f"{len(calls)} calls": not calls,
        f"{len(scalars)} instructions compute one element": not scalars,
        f"only {share:.2f} of {len(loop)} instructions compute": share >= row.share,
    }
    return [fault for fault, holds in checks.items() if not holds]


@pytest.mark.parametrize(("tag", "row"), CASES)
def test_innermost_loops(tag: str, row: Row) -> None:
    point, code = shipped(LOOPS[row.loop].region, tag)
    found = faults(row, point, code, machine(tag).vector_bits, syntax(tag))
    assert not found, f"{point}: " + "; ".join(found)


@pytest.mark.parametrize(("name", "vectors", "most"), [("signed bytes", 2, 5), ("conv of bytes", 2, 6)])
def test_the_largest_tiles_of_bytes_stay_in_registers(name: str, vectors: int, most: int) -> None:
    """Products wait in registers of their own until they are added, and LLVM would like to add them up first."""
    cpu, tile = machine("x86:znver3"), LOOPS[name].tile
    space = space_of(name, cpu)
    point = max((point for point in space.points() if point.vectors == vectors), key=tile)
    assert tile(point) == vectors * most
    code = assembly(space.build(point), target("x86:znver3").backend())
    assert not faults(Row(name, "vpmaddwd", 0.65), point, code, cpu.vector_bits)


def test_a_tile_larger_than_the_registers_is_noticed() -> None:
    cpu = machine("x86:haswell")
    large = Tiling(rows=8, vectors=3, lanes=8, axis="none", block=32)
    code = assembly(space_of("dense", cpu).build(large), CpuBackend(cpu))
    (fault,) = faults(Row("dense", "vfmadd231ps", 0), large, code, cpu.vector_bits)
    assert fault.endswith("instructions on the stack")


def test_calls_for_each_element_are_noticed() -> None:
    """LLVM takes the exponential of a vector from C's library, one element after the other."""
    cpu = machine("x86:haswell")
    space = space_of("softmax", cpu)
    (point,) = space.points()
    code = assembly(space.build(point), CpuBackend(cpu, functions={**FUNCTIONS, "exp": tirx.exp}))
    assert faults(Row("softmax, exponentials", "vminps", 0), point, code, cpu.vector_bits) == ["no loop has vminps"]
    assert "32 calls" in faults(Row("softmax, exponentials", "vsubps", 0), point, code, cpu.vector_bits)


def test_narrow_vectors_are_noticed() -> None:
    """Those of AVX2 where AVX-512 is expected."""
    point, code = shipped("sum", "x86:haswell")
    assert faults(Row("sum", "vaddps", 0), point, code, 512) == ["vectors of [256] bits"]


def test_too_little_arithmetic_is_noticed() -> None:
    point, code = shipped("sum", "x86:haswell")
    (fault,) = faults(Row("sum", "vaddps", 1), point, code, 256)
    assert re.fullmatch(r"only 0\.\d\d of \d+ instructions compute", fault)


def test_single_elements_are_noticed() -> None:
    loop = ["vaddps\t(%rdi), %ymm0, %ymm0", "vaddss\t%ymm1, %ymm2, %ymm1"]
    assert _faults(Row("sum", "vaddps", 0), 1, loop, 256) == ["1 instructions compute one element"]
