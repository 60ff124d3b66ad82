"""PTX instructions of one thread and of a warp, against numpy; and the parser."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from dsc.simulator import simulated_cuda
from dsc.simulator.ptx.parser import Address, Group, Immediate, Instruction, Label, Register, parse

Array = np.ndarray
U, S, F, H = np.uint32, np.int32, np.float32, np.float16


def signed(x: Array) -> Array:
    return x.view(S)


def floats(x: Array) -> Array:
    """Words as floats of moderate size."""
    return (x % 2000).astype(F) / 100 + F(0.01)


def _shuffled(a: Array, source: Callable[[Array], Array]) -> Array:
    lanes = np.arange(len(a))
    return a[lanes // 32 * 32 + source(lanes % 32)]


WORDS: dict[str, Callable[[Array, Array, Array], Array]] = {
    "add.u32 %0, %1, %2;": lambda a, b, c: a + b,
    "sub.s32 %0, %1, %2;": lambda a, b, c: a - b,
    "mul.lo.u32 %0, %1, %2;": lambda a, b, c: a * b,
    "mul.hi.u32 %0, %1, %2;": lambda a, b, c: ((a.astype(np.uint64) * b) >> 32).astype(U),
    "mad.lo.s32 %0, %1, %2, %3;": lambda a, b, c: a * b + c,
    "min.s32 %0, %1, %2;": lambda a, b, c: np.minimum(signed(a), signed(b)).view(U),
    "max.u32 %0, %1, %2;": lambda a, b, c: np.maximum(a, b),
    "and.b32 %0, %1, %2;": lambda a, b, c: a & b,
    "xor.b32 %0, %1, 0xff;": lambda a, b, c: a ^ U(255),
    "not.b32 %0, %1;": lambda a, b, c: ~a,
    "shl.b32 %0, %1, 5;": lambda a, b, c: a << U(5),
    "shl.b32 %0, %1, 32;": lambda a, b, c: a * U(0),
    "shr.s32 %0, %1, 7;": lambda a, b, c: (signed(a) >> 7).view(U),
    "shr.u32 %0, %1, 7;": lambda a, b, c: a >> U(7),
    "popc.b32 %0, %1;": lambda a, b, c: np.bitwise_count(a).astype(U),
    "clz.b32 %0, %1;": lambda a, b, c: (31 - np.floor(np.log2(a.astype(np.float64)))).astype(U),
    "lop3.b32 %0, %1, %2, %3, 0x96;": lambda a, b, c: a ^ b ^ c,
    "lop3.b32 %0, %1, %2, %3, 0xca;": lambda a, b, c: (a & b) | (~a & c),
    "prmt.b32 %0, %1, %2, 0x5410;": lambda a, b, c: (a & U(0xFFFF)) | (b << U(16)),
    "dp4a.s32.s32 %0, %1, %2, %3;": lambda a, b, c: (
        (a.view(np.int8).reshape(-1, 4).astype(S) * b.view(np.int8).reshape(-1, 4)).sum(1, dtype=S) + signed(c)
    ).view(U),
    "dp4a.u32.s32 %0, %1, %2, %3;": lambda a, b, c: (
        (a.view(np.uint8).reshape(-1, 4).astype(S) * b.view(np.int8).reshape(-1, 4)).sum(1, dtype=S) + signed(c)
    ).view(U),
    "{ .reg .pred p; setp.lt.u32 p, %1, %2; selp.b32 %0, %2, %3, p; }": lambda a, b, c: np.where(a < b, b, c),
    "{ .reg .pred p, q; setp.ge.s32 p|q, %1, %2; mov.b32 %0, 1; @q mov.b32 %0, 2; }": lambda a, b, c: np.where(
        signed(a) >= signed(b), U(1), U(2)
    ),
    "{ .reg .b16 l, h; mov.b32 {l, h}, %1; mov.b32 %0, {h, l}; }": lambda a, b, c: (a >> U(16)) | (a << U(16)),
    "{ .reg .u64 w; mul.wide.u32 w, %1, %2; shr.u64 w, w, 16; cvt.u32.u64 %0, w; }": lambda a, b, c: (
        (a.astype(np.uint64) * b) >> 16
    ).astype(U),
    "{ .reg .pred p; mov.b32 %0, 0;\nAGAIN: add.u32 %0, %0, 3; setp.lt.u32 p, %0, 30; @p bra AGAIN; }": (
        lambda a, b, c: a * U(0) + U(30)
    ),
    "mov.u32 %0, %%laneid;": lambda a, b, c: np.arange(len(a), dtype=U) % U(32),
    "mov.u32 %0, %%ntid.x;": lambda a, b, c: a * U(0) + U(len(a)),
    "{ .reg .u8 n; cvt.u8.u32 n, %1; cvt.u32.u8 %0, n; }": lambda a, b, c: a & U(255),
    "shfl.sync.bfly.b32 %0, %1, 5, 0x1f, 0xffffffff;": lambda a, b, c: _shuffled(a, lambda lane: lane ^ 5),
    "shfl.sync.down.b32 %0, %1, 3, 0x1f, 0xffffffff;": lambda a, b, c: _shuffled(
        a, lambda lane: np.where(lane + 3 < 32, lane + 3, lane)
    ),
    "shfl.sync.up.b32 %0, %1, 2, 0x0, 0xffffffff;": lambda a, b, c: _shuffled(
        a, lambda lane: np.where(lane >= 2, lane - 2, lane)
    ),
    "shfl.sync.idx.b32 %0, %1, 3, 0x181f, 0xffffffff;": lambda a, b, c: _shuffled(a, lambda lane: lane // 8 * 8 + 3),
    "redux.sync.add.u32 %0, %1, 0xffffffff;": lambda a, b, c: np.repeat(a.reshape(-1, 32).sum(1, dtype=U), 32),
    "redux.sync.min.s32 %0, %1, 0xffffffff;": lambda a, b, c: np.repeat(signed(a).reshape(-1, 32).min(1), 32).view(U),
    "match.any.sync.b32 %0, 7, 0xffffffff;": lambda a, b, c: a * U(0) + U(0xFFFFFFFF),
    "{ .reg .pred p; setp.eq.u32 p, %2, 0; vote.sync.ballot.b32 %0, !p, 0xffffffff; }": lambda a, b, c: (
        a * U(0) + U(0xFFFFFFFF)
    ),
}
"""Instruction on words (%1 to %3) -> the word it makes."""


def wide(function: Callable[..., Array]) -> Callable[..., Array]:
    return lambda *operands: function(*(x.astype(np.float64) for x in operands)).astype(F)


FLOATS: dict[str, Callable[..., Array]] = {
    "add.rn.f32 %0, %1, %2;": lambda a, b, c: a + b,
    "mul.ftz.f32 %0, %1, %2;": lambda a, b, c: a * b,
    "fma.rn.f32 %0, %1, %2, %3;": wide(lambda a, b, c: a * b + c),
    "max.f32 %0, %1, 0f41200000;": lambda a, b, c: np.maximum(a, F(10)),
    "neg.f32 %0, %1;": lambda a, b, c: -a,
    "ex2.approx.ftz.f32 %0, %1;": wide(lambda a, b, c: np.exp2(a)),
    "lg2.approx.f32 %0, %1;": wide(lambda a, b, c: np.log2(a)),
    "rcp.approx.ftz.f32 %0, %1;": wide(lambda a, b, c: 1 / a),
    "rsqrt.approx.f32 %0, %1;": wide(lambda a, b, c: 1 / np.sqrt(a)),
    "tanh.approx.f32 %0, %1;": wide(lambda a, b, c: np.tanh(a)),
    "{ .reg .s32 i; cvt.rzi.s32.f32 i, %1; cvt.rn.f32.s32 %0, i; }": lambda a, b, c: np.trunc(a),
    "{ .reg .s32 i; cvt.rni.s32.f32 i, %1; cvt.rn.f32.s32 %0, i; }": lambda a, b, c: np.rint(a),
    "{ .reg .b16 h; cvt.rn.f16.f32 h, %1; cvt.f32.f16 %0, h; }": lambda a, b, c: a.astype(H).astype(F),
    "{ .reg .b32 h; cvt.rn.f16x2.f32 h, %1, %2; add.f16x2 h, h, h; .reg .b16 l, u; mov.b32 {l, u}, h;"
    " cvt.f32.f16 %0, u; }": lambda a, b, c: (a.astype(H) + a.astype(H)).astype(F),
    "{ .reg .b32 t; cvt.rna.tf32.f32 t, %1; mov.b32 %0, t; }": lambda a, b, c: (
        (a.view(U) + U(0x1000)) & U(0xFFFFE000)
    ).view(F),
    "{ .reg .pred p; setp.gt.f32 p, %1, %2; selp.f32 %0, %1, %2, p; }": lambda a, b, c: np.maximum(a, b),
}
"""Instruction on floats -> the float it makes."""

SIZE = 64


def outcomes(constraint: str, type: str, instructions: list[str], inputs: list[Array]) -> Array:
    """What each instruction makes of the inputs, one kernel for all: a row an instruction."""
    statements = "".join(
        f'{{ {type} r; asm volatile("{text}" : "=&{constraint}"(r) : "{constraint}"(a[t]), "{constraint}"(b[t]), '
        f'"{constraint}"(c[t])); d[{i} * {SIZE} + t] = r; }}\n'.replace("\nAGAIN", "\\nAGAIN")
        for i, text in enumerate(instructions)
    )
    pointers = ", ".join(f"const {type}* {x}" for x in "abc")
    source = (
        f'extern "C" __global__ void __launch_bounds__({SIZE}) all({pointers}, {type}* d) {{\n'
        f"int t = threadIdx.x;\n{statements}}}"
    )
    result = np.zeros((len(instructions), SIZE), inputs[0].dtype)
    with simulated_cuda("sm_80") as simulation:
        simulation.launch(source, "all", (1,), (SIZE,), *inputs, result)
    return result


def test_instructions_on_words() -> None:
    random = np.random.default_rng(6)
    inputs = [random.integers(1, 2**32, SIZE, U) for _ in range(3)]
    found = outcomes("r", "unsigned", list(WORDS), inputs)
    for row, (text, reference) in zip(found, WORDS.items(), strict=True):
        np.testing.assert_array_equal(row, reference(*inputs), err_msg=text)


def test_instructions_on_floats() -> None:
    random = np.random.default_rng(7)
    inputs = [floats(random.integers(0, 2**32, SIZE, U)) for _ in range(3)]
    found = outcomes("f", "float", list(FLOATS), inputs)
    for row, (text, reference) in zip(found, FLOATS.items(), strict=True):
        np.testing.assert_allclose(row, reference(*inputs), rtol=1e-6, err_msg=text)  # a step of a float is 1e-7


MEMORY = """
extern "C" __global__ void __launch_bounds__(32) all(const float* x, float* y, int* count, unsigned* order) {
  __shared__ __align__(16) float s[128];
  int t = threadIdx.x;
  float4 v;
  asm volatile("ld.global.nc.L1::no_allocate.v4.f32 {%0, %1, %2, %3}, [%4];"
      : "=f"(v.x), "=f"(v.y), "=f"(v.z), "=f"(v.w) : "l"(x + t * 4));
  unsigned to = (unsigned)__cvta_generic_to_shared(s);
  asm volatile("st.shared.v4.f32 [%0], {%1, %2, %3, %4};" :: "r"(to + t * 16), "f"(v.w), "f"(v.z), "f"(v.y), "f"(v.x));
  asm volatile("bar.sync 0;");
  float w;
  asm volatile("ld.shared.f32 %0, [%1 + 4];" : "=f"(w) : "r"(to + t * 16));
  asm volatile("st.global.f32 [%0], %1;" :: "l"(y + t), "f"(w) : "memory");
  asm volatile("red.global.add.s32 [%0], %1;" :: "l"(count), "r"(t) : "memory");
  unsigned old;
  asm volatile("atom.global.add.u32 %0, [%1], 1;" : "=r"(old) : "l"(count + 1) : "memory");
  order[t] = old;
  asm volatile("{ .reg .pred p; setp.ne.b32 p, %1, 0; @p st.global.u32 [%0], %1; }" :: "l"(count + 2),
      "r"(t == 9 ? 77 : 0));
}
"""


def test_memory_and_atomics() -> None:
    x = np.random.default_rng(8).standard_normal(128, F)
    y, count, order = np.zeros(32, F), np.zeros(3, S), np.zeros(32, U)
    with simulated_cuda("sm_80", order=3) as simulation:
        simulation.launch(MEMORY, "all", (1,), (32,), x, y, count, order)
    np.testing.assert_array_equal(y, x.reshape(32, 4)[:, 2])
    assert list(count) == [sum(range(32)), 32, 77]
    assert sorted(order) == list(range(32))


ZEROS = """
extern "C" __global__ void __launch_bounds__(32) all(const float* x, float* y, int n) {
  __shared__ __align__(16) float s[128];
  int t = threadIdx.x, left = (n - t * 4) * 4;
  unsigned to = (unsigned)__cvta_generic_to_shared(s + t * 4);
  int bytes = left < 0 ? 0 : left > 16 ? 16 : left;
  asm volatile("cp.async.ca.shared.global.L2::128B [%0], [%1], 16, %2;" :: "r"(to), "l"(x + t * 4),
      "r"(bytes) : "memory");
  asm volatile("cp.async.wait_all;" ::: "memory");
  __syncthreads();
  for (int i = 0; i < 4; ++i) y[i * 32 + t] = s[i * 32 + t];
}
"""


def test_copies_fill_with_zeros_and_read_no_further() -> None:
    x = np.random.default_rng(9).standard_normal(77, F)
    y = np.ones(128, F)
    with simulated_cuda("sm_80") as simulation:
        simulation.launch(ZEROS, "all", (1,), (32,), x, y, 77)
    np.testing.assert_array_equal(y, np.pad(x, (0, 51)))


@pytest.mark.parametrize("trans", ["", ".trans"])
@pytest.mark.parametrize("count", [1, 2, 4])
def test_stmatrix_undoes_ldmatrix(count: int, trans: str) -> None:
    registers = ", ".join(f"%{i}" for i in range(count))
    outs = ", ".join(f'"=r"(r[{i}])' for i in range(count))
    ins = ", ".join(f'"r"(r[{i}])' for i in range(count))
    source = f"""
#include <cuda_fp16.h>
extern "C" __global__ void __launch_bounds__(32) all(const half* x, half* y, unsigned* r0) {{
  __shared__ __align__(16) half s[2][{count * 64}];
  int t = threadIdx.x;
  for (int i = t; i < {count * 64}; i += 32) s[0][i] = x[i];
  __syncwarp();
  unsigned from = (unsigned)__cvta_generic_to_shared(&s[0][t % {8 * count} * 8]), r[4];
  unsigned to = (unsigned)__cvta_generic_to_shared(&s[1][t % {8 * count} * 8]);
  asm volatile("ldmatrix.sync.aligned.m8n8.x{count}{trans}.shared.b16 {{{registers}}}, [%{count}];"
      : {outs} : "r"(from));
  asm volatile("stmatrix.sync.aligned.m8n8.x{count}{trans}.shared.b16 [%{count}], {{{registers}}};" :: {ins}, "r"(to));
  __syncwarp();
  for (int i = t; i < {count * 64}; i += 32) y[i] = s[1][i];
  r0[t] = r[0];
}}"""
    x = np.random.default_rng(10).standard_normal(count * 64).astype(H)
    y, first = np.zeros_like(x), np.zeros(32, U)
    with simulated_cuda("sm_90") as simulation:
        simulation.launch(source, "all", (1,), (32,), x, y, first)
    np.testing.assert_array_equal(x, y)
    matrix = x[:64].reshape(8, 8)
    np.testing.assert_array_equal(first.view(H).reshape(8, 8), matrix.T if trans else matrix)


def test_the_parser() -> None:
    text = "{ .reg .pred p;\nWAIT:\n @!p ld.global.v2.f32 {%0, %1}, [%2 + -8]; // twice\n setp.ne.b32 p|q, %3, 0x1f; }"
    _, label, load, compare = parse(text)
    assert label == Label("WAIT")
    address = Address(Register("%2"), "-8")
    pair = Group((Register("%0"), Register("%1")))
    assert load == Instruction("ld.global.v2.f32", (pair, address), "p", negated=True)
    both = Group((Register("p"), Register("q")), piped=True)
    assert compare == Instruction("setp.ne.b32", (both, Register("%3"), Immediate("0x1f")))
