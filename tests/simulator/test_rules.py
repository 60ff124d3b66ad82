"""Every rule of CUDA that the simulator watches: a kernel that breaks it is told so, and which thread and line."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import pytest

from dsc.errors import UsageError
from dsc.simulator import Fault, KernelError, UnknownInstructionError, compile_image, simulated_cuda


def kernel(body: str, threads: int = 64) -> str:
    """A kernel with an array of 64 floats to read and one to write."""
    bounds = f"__launch_bounds__({threads})"
    return (
        f'extern "C" __global__ void {bounds} broken(const float* x, float* y, int n) {{\n'
        f"  int t = threadIdx.x;\n{body}\n}}\n"
    )


def fault(
    body: str,
    checks: bool = True,
    threads: int = 64,
    launched: int = 0,
    shared: int = 0,
) -> Fault:
    """How a launch of one block ends."""
    x = np.random.default_rng(0).standard_normal(64, np.float32)
    with simulated_cuda("sm_80", checks=checks) as simulation:
        block, source = (launched or threads,), kernel(body, threads)
        with pytest.raises(KernelError) as raised:
            simulation.launch(source, "broken", (1,), block, x, np.zeros_like(x), 64, shared=shared)
        assert simulation.faults() == [raised.value.fault]
        # The device goes on: what follows a broken kernel is not broken.
        y = np.zeros_like(x)
        simulation.launch(kernel("  y[t] = x[t];"), "broken", (1,), (64,), x, y, 64)
        np.testing.assert_array_equal(x, y)
    return raised.value.fault


@dataclass(frozen=True)
class Broken:
    """A kernel's body and what is said of it."""

    body: str
    expected: str
    checks_only: bool = True
    shared: int = 0


SHARED = "  __shared__ float s[64];\n"
BROKEN = {
    "a write that races with reads": Broken(
        SHARED + "  s[t] = x[t]; __syncthreads(); y[t] = s[0]; if (t == 63) s[0] = 1.0f;",
        "races: writes 4 bytes of 's' at byte 0, which several threads read",
    ),
    "two writes that race": Broken(
        SHARED + "  s[t / 2] = x[t]; __syncthreads(); y[t] = s[t / 2];",
        r"races: writes .*, which thread \(0, 0, 0\) wrote",
    ),
    "a read of what nobody wrote": Broken(
        SHARED + "  if (t > 0) s[t] = x[t]; __syncthreads(); y[t] = s[t];",
        "reads 4 bytes of 's' at byte 0, which nobody has written",
    ),
    "a race within a warp": Broken(
        SHARED + "  s[t] = 0.0f; __syncthreads(); s[t] = x[t]; y[t] = s[t ^ 1];",
        r"races: .* which thread \(\d+, 0, 0\) (wrote|read)",
    ),
    "an atomic and a plain write": Broken(
        "  __shared__ int s[1]; if (t == 0) s[0] = 0; atomicAdd(&s[0], 1); __syncthreads(); y[t] = s[0];",
        "races: writes 4 bytes of 's' at byte 0",
    ),
    "a read past the end": Broken("  y[t] = x[t + 1];", "global memory out of bounds", checks_only=False),
    "a read just past a ragged end": Broken(
        "  const char* p = (const char*)x; y[t] = p[n * 4 + t];", "reads 1 bytes of global memory out of bounds"
    ),
    "a write before the beginning": Broken("  y[t - 1] = x[t];", "writes 4 bytes of global memory out of bounds"),
    "a shared array's end": Broken(
        SHARED + "  float* p = s; p[t + 1] = x[t]; y[t] = 0.0f;", "writes 4 bytes of shared memory out of bounds"
    ),
    "the end of dynamic shared memory": Broken(
        "  extern __shared__ float d[]; d[t] = x[t]; y[t] = d[t];",
        "writes 4 bytes of shared memory out of bounds",
        shared=252,
    ),
    "a register array's end": Broken(
        "  float r[4]; for (int i = 0; i < 4; ++i) r[i] = x[i]; y[t] = r[n - 60];",
        "uses index 4 of an array that has fewer elements, in line 3",
        checks_only=False,
    ),
    "a vector at an odd place": Broken(
        "  float4 v = *(const float4*)(x + t % 2); y[t] = v.x;", "multiple of 16", checks_only=False
    ),
    "a null pointer": Broken(
        "  const float* p = n ? nullptr : x; y[t] = p[t];",
        "no memory of the device's|multiple of 4|does not exist",
        checks_only=False,
    ),
    "a division by zero": Broken("  y[t] = 7 % (n - 64);", "divides an integer by zero", checks_only=False),
    "a stack that is too small": Broken(
        "  volatile char much[300000]; much[n] = 1; y[t] = much[n];", "more local memory", checks_only=False
    ),
    "a barrier that some miss": Broken(
        "  if (t < 32) __syncthreads(); y[t] = x[t];",
        "has ended, while others wait at the barrier of line 3",
        checks_only=False,
    ),
    "two barriers at once": Broken(
        "  if (t < 32)\n    __syncthreads();\n  else\n    __syncthreads();\n  y[t] = x[t];",
        "waits at the barrier of line 6, while others wait at line 4",
        checks_only=False,
    ),
    "a shuffle that some miss": Broken(
        "  float v = x[t];\n  if (t != 3) v = __shfl_sync(0xffffffffu, v, 0); else __syncthreads();\n  y[t] = v;",
        "waits at a shuffle for lanes of mask 0xffffffff that do not come",
        checks_only=False,
    ),
    "a shuffle out of its mask": Broken(
        "  y[t] = __shfl_sync(0x0000ffffu, x[t], 0);",
        "takes part in a shuffle with mask 0x0000ffff, in which it is not",
        checks_only=False,
    ),
    "an assertion": Broken("  assert(t < 63); y[t] = x[t];", "fails the assertion t < 63 of line 3", checks_only=False),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_rule_is_told(name: str) -> None:
    broken = BROKEN[name]
    for checks in (True,) if broken.checks_only else (True, False):
        found = fault(broken.body, checks, shared=broken.shared)
        assert re.search(broken.expected, found.what), found
        assert found.kernel == "broken"


def test_matrices_need_all_lanes_of_a_warp() -> None:
    body = (
        SHARED
        + """  s[t] = x[t]; unsigned r, at = (unsigned)__cvta_generic_to_shared(s) + t % 8 * 16; __syncthreads();
  asm volatile("ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%0}, [%1];" : "=r"(r) : "r"(at)); y[t] = r;"""
    )
    assert "waits at ldmatrix for lanes of mask 0xffffffff that do not come" in fault(body, launched=48).what


def test_a_fault_has_its_place() -> None:
    found = fault("  y[t] = 0.0f;\n  if (t == 37) y[t] = x[t + 40];")
    assert found.thread == (37, 0, 0)
    assert found.line == "line 4: if (t == 37) y[t] = x[t + 40];"
    assert "kernel broken, block (0, 0, 0), thread (37, 0, 0): reads 4 bytes of global memory" in str(
        KernelError(found)
    )


COPY = """
  __shared__ __align__(16) float s[256];
  unsigned to = (unsigned)__cvta_generic_to_shared(&s[t * 4]);
  asm volatile("cp.async.ca.shared.global [%0], [%1], {size};" :: "r"(to + {shift}), "l"(x + {source}) : "memory");
  {wait}
  y[t] = s[t * 4];
"""
WAIT = 'asm volatile("cp.async.wait_all;" ::: "memory");'
COPIES = {
    "not waited for": ({"wait": ""}, "reads 4 bytes of 's' at byte 0, where a cp.async of thread"),
    "shared address": ({"shift": "4", "size": "8"}, "copies by cp.async to shared memory at address .* multiple of 8"),
    "global address": (
        {"source": "t", "size": "8"},
        "copies by cp.async from global memory at address .* multiple of 8",
    ),
    "source": ({"source": "t + 60"}, "reads 4 bytes of global memory out of bounds"),
}


@pytest.mark.parametrize("name", COPIES)
def test_copies_are_watched(name: str) -> None:
    changes, expected = COPIES[name]
    filled = {"size": "4", "shift": "0", "source": "t", "wait": WAIT, **changes}
    assert re.search(expected, fault(COPY.format(**filled)).what)


def test_a_copy_that_is_never_waited_for() -> None:
    body = COPY.format(size="4", shift="0", source="t", wait="").replace("y[t] = s[t * 4]", "y[t] = 0.0f")
    assert "ends with copies by cp.async that it never waited for" in fault(body).what
    assert "ends with copies by cp.async" in fault(body, checks=False).what


def test_launches_beyond_the_machine() -> None:
    assert "65 threads in a block, at most 64" in fault("  y[t] = x[t];", launched=65).what
    assert "bytes of dynamic shared memory, at most 166912" in fault("  y[t] = x[t];", shared=200000).what
    big = "  __shared__ float s[16 << 10]; s[t] = x[t]; y[t] = s[t];"
    assert "more than the 49152 bytes of static shared memory" in fault(big).what


def test_wgmma_where_there_is_none() -> None:
    assert fault('  asm volatile("wgmma.fence.sync.aligned;");').what == "executes wgmma, which only sm_90 has"


UNKNOWN = {
    "  y[t] = __nonsense(x[t]);": r"line 3 of the CUDA source: .*'__nonsense'",
    '  asm volatile("tcgen05.wait::ld.sync.aligned;");': r"line 3 of the CUDA source: .*tcgen05\.wait::ld\.sync",
    '  asm("mma.sync.aligned.m16n8k32.row.col.f32.e4m3.e4m3.f32 {%0}, {%0}, {%0}, {%0};" : "+f"(y[t]));': r"e4m3",
    '  asm("add.rz.f32 %0, %0, %0;" : "+f"(y[t]));': r"add\.rz\.f32",
    '  asm("add.f32 %0, %0;" : "+f"(y[t]));': r"add\.f32 with operands \(o0, o0\)",
    '  asm("mov.u32 %0, %smid;" : "=r"(n));': r"register %smid",
    '  asm("bar.sync 1, 32;");': r"bar\.sync",
    '  asm("this is no ptx");': r"this is no PTX|does not know",
}


@pytest.mark.parametrize("body", UNKNOWN)
def test_what_is_unknown_is_an_error(body: str) -> None:
    with pytest.raises(UnknownInstructionError, match=UNKNOWN[body]):
        compile_image(kernel(body), "sm_80")


def test_requests_that_make_no_sense() -> None:
    with pytest.raises(UsageError, match=r"knows sm_70, sm_75"), simulated_cuda("sm_52"):
        pass
    with pytest.raises(UsageError, match="sideways"), simulated_cuda("sm_80", order="sideways"):
        pass
    with simulated_cuda("sm_80") as simulation:
        with pytest.raises(UsageError, match="one process has one"), simulated_cuda("sm_80"):
            pass
        with pytest.raises(UsageError, match="takes 3 arguments, there are 1"):
            simulation.launch(kernel("  y[t] = x[t];"), "broken", (1,), (64,), 1)
        with pytest.raises(UsageError, match="no kernel other"):
            simulation.launch(kernel("  y[t] = x[t];"), "other", (1,), (64,), 1)
        with pytest.raises(UsageError, match="a cubin or PTX"):
            simulation._core.load(b"\x7fELF" + bytes(100))
