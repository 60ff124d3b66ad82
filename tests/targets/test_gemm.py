"""Matrix products against ONNX Runtime, for machines with and without AVX-512."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from dsc import targets
from dsc.targets import Machine, Point, Refusal, Space
from dsc.targets.cpu.gemm import Gemm
from tests.targets.regions import Region
from tests.targets.weighted import Weighted, check

AVX2 = targets.machine("x86:haswell")
MACHINES = [targets.machine(), *([AVX2] if targets.machine().has(*AVX2.features) else [])]


def dense(rows: object, n: int, k: int, **sizes: int) -> Weighted:
    """A product with constant weights, bias and activation."""
    text = f"(float[{rows},{k}] x, float[{k},{n}] w, float[{n}] b) => (float[{rows},{n}] y)"
    return Weighted(
        f"{text} {{ p = MatMul(x, w) s = Add(p, b) y = Relu(s) }}", sizes, weights=("w", "b"), atol=1e-4
    )


SIZES = [
    dense(1, 1, 1),
    dense(1, 1000, 64),
    dense(2, 17, 5),
    dense(3, 10, 130),
    dense(7, 31, 64),
    dense(49, 24, 96),
    dense(128, 48, 33),
    dense(197, 200, 16),
    dense(1000, 3, 8),
    dense(1, 4097, 16),
    dense(5, 64, 1),
    dense("m", 40, 24, m=1),
    dense("m", 40, 24, m=61),
    dense("m", 7, 24, m=1000),
]

SHAPES = [
    # leading dims are rows; residual; two outputs
    Weighted(
        "(float[2,3,5,16] x, float[16,20] w, float[2,3,5,20] r) => (float[2,3,5,20] y, float[2,3,5,20] z)"
        "{ y = MatMul(x, w) z = Add(y, r) }",
        weights=("w",),
    ),
    Weighted(
        "(float[b,s,16] x, float[16,20] w, float[b,s,20] r) => (float[b,s,20] y) { p = MatMul(x, w) y = Add(p, r) }",
        {"b": 3, "s": 7},
        weights=("w",),
    ),
    Weighted("(float[b,s,16] x, float[16,20] w, float[1,s,1] r) => (float[b,s,20] y) { p = MatMul(x, w) y = Mul(p, r) }",
             {"b": 3, "s": 7}, weights=("w",)),  # fmt: skip
    # weights that are transposed, scaled, broadcast, or of a batch
    Weighted(
        "(float[9,16] x, float[20,16] w, float[20] c) => (float[9,20] y)"
        "{ y = Gemm<transB=1, alpha=0.5, beta=2.0>(x, w, c) }",
        weights=("w", "c"),
    ),
    Weighted("(float[16,9] x, float[16,20] w) => (float[9,20] y) { y = Gemm<transA=1>(x, w) }", weights=("w",)),
    Weighted("(float[m,16] x, float[20,16] w, float[1] c) => (float[m,20] y) { y = Gemm<transB=1>(x, w, c) }",
             {"m": 13}, weights=("w", "c")),  # fmt: skip
    Weighted("(float[3,9,16] x, float[3,16,20] w) => (float[3,9,20] y) { y = MatMul(x, w) }", weights=("w",)),
    Weighted("(float[1,9,16] x, float[2,3,16,20] w) => (float[2,3,9,20] y) { y = MatMul(x, w) }", weights=("w",)),
    Weighted("(float[2,3,9,16] x, float[3,16,20] w) => (float[2,3,9,20] y) { y = MatMul(x, w) }", weights=("w",)),
    # both sides computed
    Region("(float[9,16] x, float[16,20] w) => (float[9,20] y) { y = MatMul(x, w) }"),
    Region("(float[2,3,9,16] x, float[2,1,16,35] w) => (float[2,3,9,35] y) { y = MatMul(x, w) }"),
    Region("(float[h,s,16] x, float[h,16,t] w) => (float[h,s,t] y) { y = MatMul(x, w) }", {"h": 3, "s": 11, "t": 37}),
    Region("(float[h,s,t] x, float[h,t,8] w) => (float[h,s,8] y) { y = MatMul(x, w) }", {"h": 3, "s": 11, "t": 37}),
    Region(
        "(float[2,9,3,16] x, float[2,20,3,16] w, float[2,1,1,20] mask) => (float[2,3,9,20] y)"
        "{ q = Transpose<perm=[0,2,1,3]>(x) k = Transpose<perm=[0,2,3,1]>(w) p = MatMul(q, k) y = Add(p, mask) }"
    ),
    Region("(float[2,9,48] x, float[20,16] w) => (float[2,9,3,20] y)"
           "{ n = Constant<value_ints=[2,9,3,16]>() r = Reshape(x, n) t = Transpose<perm=[1,0]>(w) y = MatMul(r, t) }"),
    # epilogues with conditions, and with an intermediate used more than once
    Weighted("(float[9,16] x, float[16,20] w) => (float[9,20] y) { p = MatMul(x, w) s = Sigmoid(p) y = Mul(p, s) }",
             weights=("w",)),  # fmt: skip
    Weighted("(float[9,16] x, float[16,20] w, bool[20] c) => (float[9,20] y) { p = MatMul(x, w) n = Neg(p) y = Where(c, p, n) }",
             weights=("w",)),  # fmt: skip
    Weighted("(float[9,16] x, float[16,20] w) => (float[9,20] y) { p = MatMul(x, w) y = Gelu(p) }", weights=("w",)),
]  # fmt: skip


@pytest.mark.parametrize("machine", MACHINES, ids=lambda m: m.name)
def test_sizes(machine: Machine):
    check(Gemm(), SIZES, machine)


@pytest.mark.parametrize("machine", MACHINES, ids=lambda m: m.name)
def test_shapes_and_epilogues(machine: Machine):
    check(Gemm(), SHAPES, machine)


def some(space: Space) -> Sequence[Point]:
    return random.Random(7).sample(list(space.points()), 8)


def test_any_point_is_right():
    check(Gemm(), [dense(29, 53, 20), dense("m", 53, 20, m=29), *SHAPES[11:13]], MACHINES[0], some)
