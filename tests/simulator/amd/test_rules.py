"""Rules that the simulator watches in AMD's kernels: one that breaks them is told so, and which thread and line."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import pytest

from dsc.errors import UsageError
from dsc.simulator import KernelError, UnknownInstructionError, simulated_kernels
from dsc.simulator.amd import compile_image
from tests.simulator.amd.llvm import BARRIER, SHARED, at, kernel, launched, moved

STORED = (
    at("p", "%x", "%t")
    + "  %v = load float, ptr addrspace(1) %p, align 4\n"
    + at("mine", "@s", "%t", space=3)
    + "  store float %v, ptr addrspace(3) %mine, align 4\n"
)
READ = (
    "  %other = xor i32 %t, 63\n"
    + at("theirs", "@s", "%other", space=3)
    + "  %r = load float, ptr addrspace(3) %theirs, align 4\n"
    + at("q", "%y", "%t")
    + "  store float %r, ptr addrspace(1) %q, align 4"
)
REVERSED = kernel(STORED + BARRIER + READ, SHARED)
ARCHS = ("gfx942", "gfx1100")


@pytest.mark.parametrize("checks", [True, False])
@pytest.mark.parametrize("arch", ARCHS)
def test_a_kernel_that_is_right(arch: str, checks: bool) -> None:
    x = np.random.default_rng(1).standard_normal(64, np.float32)
    for order in ("forward", "reverse", 3):
        y = np.zeros_like(x)
        counters = launched(REVERSED, arch, x, y, order=order, checks=checks)
        np.testing.assert_array_equal(y, x[::-1])
    waves = 64 // (64 if arch == "gfx942" else 32)
    assert (counters.barriers, counters.shared_bytes) == (waves, 256)
    if checks:
        assert (counters.global_loads, counters.global_stores) == (waves, waves)
        assert (counters.coalescing, counters.bank_conflicts) == (1.0, 0)
        assert counters.shared_wavefronts == 4  # 64 lanes pass 32 banks twice, to store and to load


@dataclass(frozen=True)
class Broken:
    """A kernel and what is said of it."""

    code: str
    expected: str
    checks_only: bool = True


LATE = "  store float 1.0, ptr addrspace(3) %mine, align 4\n"
IN_A_BRANCH = """  %low = icmp ult i32 %t, 20
  br i1 %low, label %some, label %all
some:
BODY
  br label %all
all:"""
MFMA = (
    "  %d = call <4 x float> @llvm.amdgcn.mfma.{}("
    "{}, {}, <4 x float> zeroinitializer, i32 {}, i32 0, i32 0)"
)  # fmt: skip
FENCE = '  fence syncscope("workgroup") {}, !mmra !0\n'
BROKEN = {
    "no barrier": Broken(
        kernel(STORED + READ, SHARED), r"reads 4 bytes of 's' at byte \d+, which (nobody has written|thread)"
    ),
    "a barrier that memory is not released to": Broken(
        REVERSED.replace(FENCE.format("release"), ""), r"races: reads 4 bytes of 's' at byte \d+, which thread"
    ),
    "a barrier that memory is not acquired from": Broken(
        REVERSED.replace(FENCE.format("acquire"), ""), r"races: reads 4 bytes of 's' at byte \d+, which thread"
    ),
    "a store behind the fence": Broken(
        kernel(STORED + BARRIER.replace("  call", LATE + "  call") + READ, SHARED),
        "races: ",
    ),
    "what nobody wrote": Broken(
        REVERSED.replace("[64 x float]", "[65 x float]").replace("xor i32 %t, 63", "sub i32 64, %t"),
        r"reads 4 bytes of 's' at byte 256, which nobody has written",
    ),
    "the end of local memory": Broken(
        REVERSED.replace("xor i32 %t, 63", "add i32 %t, 1"), "reads 4 bytes of shared memory out of bounds"
    ),
    "the end of global memory": Broken(
        REVERSED.replace("%x, i32 %t", "%x, i32 64"), "global memory out of bounds", checks_only=False
    ),
    "before global memory": Broken(REVERSED.replace("%y, i32 %t", "%y, i32 -1"), "writes 4 bytes of global memory out"),
    "a vector at an odd place": Broken(
        kernel(
            at("p", "%x", "1")
            + "  %v = load <4 x float>, ptr addrspace(1) %p, align 16\n"
            + "  store <4 x float> %v, ptr addrspace(1) %y, align 16"
        ),
        "which is not a multiple of 16",
    ),
    "a division by zero": Broken(
        kernel(moved("  %zero = sub i32 %n, 64\n  %r = sdiv i32 %v, %zero")),
        "divides an integer by zero",
        checks_only=False,
    ),
    "a matrix instruction in a branch": Broken(
        kernel(IN_A_BRANCH.replace("BODY", MFMA.format("f32.16x16x4f32", "float 1.0", "float 1.0", 0))),
        "waits at a matrix instruction for lanes of mask 0xffffffffffffffff that do not come",
        checks_only=False,
    ),
    "a barrier that some miss": Broken(
        kernel(IN_A_BRANCH.replace("BODY", BARRIER.strip("\n"))),
        "has ended, while others wait at the barrier of line 11",
        checks_only=False,
    ),
    "more local memory than there is": Broken(
        REVERSED.replace("[64 x float]", "[16385 x float]"), "more than the 65536 bytes of static shared memory", False
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_rule_is_told(name: str) -> None:
    broken = BROKEN[name]
    x = np.random.default_rng(2).integers(1, 9, 64).astype(np.float32)
    for checks in (True,) if broken.checks_only else (True, False):
        with pytest.raises(KernelError) as raised:
            launched(broken.code, "gfx942", x, np.zeros_like(x), checks=checks)
        assert re.search(broken.expected, raised.value.fault.what), raised.value
        assert raised.value.fault.kernel == "k"


def test_a_fault_has_its_place() -> None:
    code = REVERSED.replace("xor i32 %t, 63", "add i32 %t, 40")
    x = np.ones(64, np.float32)
    with pytest.raises(KernelError) as raised:
        launched(code, "gfx1100", x, np.zeros_like(x))
    fault = raised.value.fault
    line = next(i for i, text in enumerate(code.splitlines(), 1) if "%r = load" in text)
    assert fault.thread == (24, 0, 0)
    assert fault.line == f"line {line}: %r = load float, ptr addrspace(3) %theirs, align 4"


def test_more_threads_than_llvm_was_promised() -> None:
    x = np.ones(128, np.float32)
    with pytest.raises(KernelError, match="is launched with 128 threads in a block, at most 64 are possible"):
        launched(kernel(moved("  %r = add i32 %v, 1"), threads=64), "gfx942", x, np.zeros_like(x), 128)


def test_copies_and_fills_are_accesses() -> None:
    code = kernel(
        at("q", "%y", "0")
        + "  call void @llvm.memcpy.p1.p1.i64("
        + "ptr addrspace(1) align 4 %q, ptr addrspace(1) align 4 %x, i64 BYTES, i1 false)\n"
        + at("z", "%y", "8")
        + "  call void @llvm.memset.p1.i64(ptr addrspace(1) align 4 %z, i8 0, i64 16, i1 false)"
    )
    x, y = np.arange(1, 17, dtype=np.float32), np.full(16, 7, np.float32)
    launched(code.replace("BYTES", "48"), "gfx942", x, y, threads=1)
    np.testing.assert_array_equal(y, [*x[:8], 0, 0, 0, 0, 7, 7, 7, 7])
    with pytest.raises(KernelError, match="reads 16 bytes of global memory out of bounds"):
        launched(code.replace("BYTES", "80"), "gfx942", x, y, threads=1)


def test_atomic_operations() -> None:
    """Sums of all threads, in local memory; one that nobody began is told."""
    first = "  %is_first = icmp eq i32 %t, 0\n  br i1 %is_first, label %zero, label %add\nzero:\n"
    begun = first + "  store i32 0, ptr addrspace(3) @s, align 4\n  br label %add\nadd:" + BARRIER
    added = (
        at("p", "%x", "%t", "i32")
        + "  %v = load i32, ptr addrspace(1) %p, align 4\n"
        + '  %old = atomicrmw add ptr addrspace(3) @s, i32 %v syncscope("workgroup") monotonic, align 4\n'
    )
    read = (
        "  %r = load i32, ptr addrspace(3) @s, align 4\n" + at("q", "%y", "%t", "i32")
        + "  store i32 %r, ptr addrspace(1) %q, align 4"
    )  # fmt: skip
    variable = "@s = internal unnamed_addr addrspace(3) global i32 poison, align 4"
    x = np.random.default_rng(3).integers(0, 100, 64).astype(np.int32)
    y = np.zeros_like(x)
    counters = launched(kernel(begun + added + BARRIER + read, variable), "gfx942", x, y)
    np.testing.assert_array_equal(y, np.full(64, x.sum()))
    assert counters.atomics == 64
    with pytest.raises(KernelError, match="which nobody has written"):
        launched(kernel(added + BARRIER + read, variable), "gfx942", x, y)


ZEROS = "<4 x half> zeroinitializer"
UNKNOWN = {
    "  %r = call i32 @llvm.amdgcn.s.getreg(i32 1)": "does not know llvm.amdgcn.s.getreg",
    '  call void asm sideeffect "s_nop 0", ""()': "no inline assembly",
    "  call void @elsewhere()": "does not know elsewhere",
    "  %b = load i32, ptr addrspace(7) null, align 4": "address space 7",
    "  %b = ptrtoint ptr addrspace(3) @s to i32": "addresses of local memory in 64 bits",
    "  %b = load atomic i32, ptr addrspace(1) %x monotonic, align 4": "this atomic access",
    "  %r = call i32 @llvm.amdgcn.ds.swizzle(i32 %t, i32 49152)": "ds_swizzle with pattern 0xc000",
    "  %r = call i32 @llvm.amdgcn.update.dpp.i32(i32 0, i32 %t, i32 304, i32 15, i32 15, i1 true)": "DPP control 0x130",
    MFMA.format("f32.4x4x4f16", ZEROS, ZEROS, 0): "does not know llvm.amdgcn.mfma.f32.4x4x4f16",
    MFMA.format("f32.16x16x4f32", "float 1.0", "float 1.0", 1): "broadcast or permuted",
    MFMA.format("f32.16x16x16f16", ZEROS, "<2 x half> zeroinitializer", 0): "with an operand of 4 bytes",
}


@pytest.mark.parametrize("body", UNKNOWN)
def test_what_is_unknown_is_an_error(body: str) -> None:
    code = kernel(body, SHARED)
    line = next(i for i, text in enumerate(code.splitlines(), 1) if text == body)
    with pytest.raises(UnknownInstructionError, match=UNKNOWN[body]) as raised:
        compile_image(code, "gfx942")
    assert str(raised.value).startswith(f"line {line} of LLVM's code: ")
    assert str(raised.value).endswith(body.strip())


def test_requests_that_make_no_sense() -> None:
    with pytest.raises(UnknownInstructionError, match=r"f32\.16x16x4f32 is not of wavefronts of 32 lanes"):
        compile_image(kernel(MFMA.format("f32.16x16x4f32", "float 1.0", "float 1.0", 0)), "gfx1100")
    with pytest.raises(UnknownInstructionError, match="LLVM does not take the translated code"):
        compile_image(kernel("  %t = this is nothing"), "gfx942")
    with pytest.raises(UsageError, match="'sm_80' is no architecture of AMD's"):
        compile_image(REVERSED, "sm_80")
    with pytest.raises(UsageError, match=r"limits of gfx803; it knows sm_70.*gfx942"), simulated_kernels("gfx803"):
        pass


def test_a_launch_that_ended_at_a_barrier_leaves_nothing_behind() -> None:
    """Threads that waited at a barrier without fences when a launch failed are others in the next one."""
    x, y = np.ones(64, np.float32), np.zeros(64, np.float32)
    unordered = REVERSED.replace(FENCE.format("release"), "")
    with simulated_kernels("gfx942") as simulation:
        with pytest.raises(KernelError, match="races"):
            simulation.launch(unordered, "k", (1,), (64,), x, y, 64)
        simulation.launch(REVERSED, "k", (1,), (64,), x, y, 64)
    np.testing.assert_array_equal(y, x)
    source = (
        'extern "C" __global__ void __launch_bounds__(64) k(const float* x, float* y, int n) {\n'
        "  __shared__ float s[64]; s[threadIdx.x] = x[threadIdx.x]; __syncthreads(); y[threadIdx.x] = s[0];\n}\n"
    )
    with simulated_kernels("gfx942") as simulation, pytest.raises(KernelError, match="races"):
        simulation.launch(unordered, "k", (1,), (64,), x, y, 64)
    with simulated_kernels("sm_80") as simulation:
        simulation.launch(source, "k", (1,), (64,), x, y, 64)
