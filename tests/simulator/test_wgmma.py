"""wgmma: products of matrices that lie in shared memory as the PTX ISA's canonical layouts say, and rules that a kernel
breaks. All kernels are in one file, which is compiled once."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from dsc.simulator import KernelError, UnknownInstructionError, simulated_cuda
from dsc.simulator.ptx import Operand, translated

ROWS, DEPTH = 64, 64
Array = np.ndarray

KERNEL = """
extern "C" __global__ void __launch_bounds__(128) NAME(const uint16_t* a, const uint16_t* b, float* d) {
  __shared__ __align__(1024) uint16_t sa[64 * 64], sb[64 * COLUMNS_IN_MEMORY];
  int t = threadIdx.x;
  for (int i = t; i < 64 * 64; i += 128) {
    int line = i / 64, place = i % 64;
    sa[line * 64 + (place / 8 ^ line % 8) * 8 + place % 8] = a[i];
  }
  for (int i = t; i < 64 * COLUMNS_IN_MEMORY; i += 128) {
    int wide = TRANS_B ? COLUMNS_IN_MEMORY : 64, line = i / wide, place = i % wide, panel = place / 64 * 64 + line;
    sb[panel * 64 + (place / 8 % 8 ^ line % 8) * 8 + place % 8] = b[i];
  }
  PUBLISH
  __syncthreads();
  uint64_t layout = SWIZZLE | (uint64_t)(1024 / 16) << 32 | (uint64_t)(64 * 128 / 16) << 16;
  uint64_t from_a = layout | (uint32_t)__cvta_generic_to_shared(sa) >> 4;
  uint64_t from_b = layout | (uint32_t)__cvta_generic_to_shared(sb) >> 4;
  float c[REGISTERS];
  for (int i = 0; i < REGISTERS; ++i) c[i] = d[t * REGISTERS + i];
  FENCE
  for (int piece = 0; piece < 4; ++piece) {
    uint64_t left = from_a + piece * (TRANS_A ? 128 : 2) + OTHER, right = from_b + piece * (TRANS_B ? 128 : 2);
    TAKES_PART asm volatile("{ .reg .pred p; setp.ne.b32 p, 1, 0; INSTRUCTION {OUTS}, %LEFT, %RIGHT, p, SIGN, 1, TRANS_A, TRANS_B; }"
        : BOUND : "l"(left), "l"(right));
  }
  asm volatile("wgmma.commit_group.sync.aligned;");
  EARLY
  WAIT
  for (int i = 0; i < REGISTERS; ++i) d[t * REGISTERS + i] = c[i];
}"""  # noqa: E501
PUBLISH, FENCE = 'asm volatile("fence.proxy.async;");', 'asm volatile("wgmma.fence.sync.aligned;");'
WAIT = 'asm volatile("wgmma.wait_group.sync.aligned 0;");'
SWIZZLE = "(uint64_t)1 << 62"


def kernel(name: str, n: int, element: str, trans_a: int, trans_b: int, sign: int = 1, **changed: str) -> str:
    """Of one instruction; `changed` are parts that a broken kernel has instead."""
    count = n // 2
    parts = {
        "COLUMNS_IN_MEMORY": str(-(-n // 64) * 64 if trans_b else n), "REGISTERS": str(count),
        "INSTRUCTION": f"wgmma.mma_async.sync.aligned.m64n{n}k16.f32.{element}.{element}",
        "OUTS": ", ".join(f"%{i}" for i in range(count)), "LEFT": str(count), "RIGHT": str(count + 1),
        "BOUND": ", ".join(f'"+f"(c[{i}])' for i in range(count)),
        "TRANS_A": str(trans_a), "TRANS_B": str(trans_b), "SIGN": str(sign),
        "PUBLISH": PUBLISH, "FENCE": FENCE, "WAIT": WAIT, "SWIZZLE": SWIZZLE, "OTHER": "0", "EARLY": "",
        "TAKES_PART": "", "NAME": name,
    } | changed  # fmt: skip
    text = KERNEL
    for part in sorted(parts, key=len, reverse=True):
        text = text.replace(part, parts[part])
    return text


PRODUCTS = {
    "along_the_depth": (24, "f16", 0, 0, 1),
    "across": (128, "f16", 1, 1, 1),
    "mixed": (64, "bf16", 1, 0, -1),
}
BROKEN = {
    "registers": ({"FENCE": ""}, r"wgmma without wgmma\.fence since its registers could be written"),
    "proxies": ({"PUBLISH": ""}, r"reads by wgmma 16 bytes of 'sa'.*wrote without fence\.proxy\.async after it"),
    "waits": ({"WAIT": ""}, r"ends with wgmma that it never waited for"),
    "shared": ({"EARLY": "sb[t] = 1;"}, r"writes 2 bytes of 'sb' at byte \d+, which a wgmma .* not waited for reads"),
    "sums": ({"EARLY": "c[1] = 0.0f;"}, r"has written a register of a wgmma that it had not waited for"),
    "warps": ({"OTHER": "t / 32"}, r"other matrices than another warp of its warpgroup"),
    "lanes": ({"OTHER": "t % 2"}, r"other matrices than other lanes of its warp"),
    "layout": ({"SWIZZLE": "(uint64_t)2 << 62"}, r"a matrix descriptor \(0x8.*whose layout .* does not know"),
    "beyond": ({"OTHER": "1024"}, r"a matrix descriptor .* of an address that is in no variable|out of bounds"),
    "alone": ({"TAKES_PART": "if (t < 96)"}, r"ended without a wgmma that other warps of its warpgroup executed"),
}  # fmt: skip
EARLY = "early"
SMALL = (8, "f16", 0, 0)
SOURCE = "\n".join(
    [
        "#include <cuda_fp16.h>",
        *(kernel(name, *product) for name, product in PRODUCTS.items()),
        *(kernel(name, *SMALL, **changed) for name, (changed, _) in BROKEN.items()),
        kernel(EARLY, *SMALL, EARLY="d[t * 4] = c[0];", WAIT=f"{WAIT} c[0] = d[t * 4];"),
    ]
)


def factors(n: int, element: str, trans_a: int, trans_b: int) -> tuple[Array, Array, Array, Array, Array]:
    """Both as they are in memory, the sums so far by thread, and what product and sums so far are as matrices."""
    random, dtype = np.random.default_rng(n), {"f16": np.float16, "bf16": ml_dtypes.bfloat16}[element]
    a, b = (random.standard_normal(shape).astype(dtype) for shape in ((ROWS, DEPTH), (DEPTH, n)))
    d = random.standard_normal((128, n // 2)).astype(np.float32)
    thread, i = np.meshgrid(np.arange(128), np.arange(n // 2), indexing="ij")
    rows, columns = thread // 32 * 16 + thread % 32 // 4 + i // 2 % 2 * 8, i // 4 * 8 + thread % 4 * 2 + i % 2
    product = a.astype(np.float64) @ b.astype(np.float64)
    left, right = (np.ascontiguousarray(each) for each in (a.T if trans_a else a, b if trans_b else b.T))
    return left.view(np.uint16), right.view(np.uint16), d, product[rows, columns], d.astype(np.float64)


@pytest.mark.parametrize("order", ["forward", "reverse"])
def test_products(order: str) -> None:
    with simulated_cuda("sm_90", order=order) as simulation:
        for name, (n, element, trans_a, trans_b, sign) in PRODUCTS.items():
            a, b, d, product, before = factors(n, element, trans_a, trans_b)
            simulation.launch(SOURCE, name, (1,), (128,), a, b, d)
            np.testing.assert_allclose(d, before + sign * product, atol=1e-4, err_msg=name)
            counted = simulation.counters()[name]
            assert (counted.matrix_multiplies, counted.matrix_macs) == (4 * 4, ROWS * n * DEPTH)
            assert counted.shared_wavefronts_ideal >= (ROWS + n) * DEPTH * 2 // 128


@pytest.mark.parametrize("name", BROKEN)
def test_rules(name: str) -> None:
    a, b, d, _, _ = factors(*SMALL)
    with pytest.raises(KernelError, match=BROKEN[name][1]), simulated_cuda("sm_90") as simulation:
        simulation.launch(SOURCE, name, (1,), (128,), a, b, d)


def test_sums_that_are_read_too_early_are_no_numbers() -> None:
    a, b, d, product, before = factors(*SMALL)
    with simulated_cuda("sm_90") as simulation:
        simulation.launch(SOURCE, EARLY, (1,), (128,), a, b, d)
    assert np.isnan(d[:, 0]).all()
    np.testing.assert_allclose(d[:, 1:], (before + product)[:, 1:], atol=1e-4)


@pytest.mark.parametrize("what", ["m64n8k8.f32.tf32.tf32", "m64n8k16.f16.f16.f16", "m64n12k16.f32.f16.f16"])
def test_other_products_are_not_known(what: str) -> None:
    registers = [Operand("f", f"c[{i}]", reads=True, writes=True) for i in range(4)]
    descriptors = [Operand("l", name, reads=True, writes=False) for name in ("left", "right")]
    text = f"wgmma.mma_async.sync.aligned.{what} {{%0, %1, %2, %3}}, %4, %5, 1, 1, 1, 0, 0;"
    with pytest.raises(UnknownInstructionError, match=r"does not know the PTX instruction wgmma"):
        translated(text, [*registers, *descriptors])
