"""Matrix products against ONNX Runtime, for machines with and without AVX-512."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

import pytest
import tvm

from dsc.targets import Point, Refusal, Space
from dsc.targets.cpu.gemm import Gemm
from dsc.targets.cpu.machine import Cpu
from tests.kernels import machine, with_lane_operands
from tests.targets.regions import implement, library
from tests.targets.weighted import Weighted, check

AVX2 = machine("x86:haswell")
MACHINES = [machine(), *([AVX2, with_lane_operands(4)] if machine().has(*AVX2.features) else [])]


def dense(rows: object, n: int, k: int, **sizes: int) -> Weighted:
    """A product with constant weights, bias and activation."""
    text = f"(float[{rows},{k}] x, float[{k},{n}] w, float[{n}] b) => (float[{rows},{n}] y)"
    return Weighted(f"{text} {{ p = MatMul(x, w) s = Add(p, b) y = Relu(s) }}", sizes, weights=("w", "b"), atol=1e-4)


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


def product(parameters: str, result: str, body: str, weights: tuple[str, ...] = ("w",), **sizes: int) -> Weighted:
    """A region in the text form of ONNX, every tensor of float32."""
    outputs = ", ".join(f"float[{result}] {name}" for name in ("y", "z") if f"{name} =" in body)
    floats = ", ".join(f"{'bool' if p.endswith(' c') else 'float'}{p}" for p in parameters.split(", "))
    return Weighted(f"({floats}) => ({outputs}) {{ {body} }}", sizes, weights=weights)


CONSTANT = [
    # leading dims are rows; residual; two outputs
    product("[2,3,5,16] x, [16,20] w, [2,3,5,20] r", "2,3,5,20", "y = MatMul(x, w) z = Add(y, r)"),
    product("[b,s,16] x, [16,20] w, [b,s,20] r", "b,s,20", "p = MatMul(x, w) y = Add(p, r)", b=3, s=7),
    product("[b,s,16] x, [16,20] w, [1,s,1] r", "b,s,20", "p = MatMul(x, w) y = Mul(p, r)", b=3, s=7),
    product("[b,s,16] x, [16,20] w, [b,t,20] r", "b,s,20", "p = MatMul(x, w) y = Add(p, r)", b=3, s=7, t=7),
    # rows of several unknown dims: positions alone, and coordinates
    product("[b,h,u,16] x, [16,20] w, [20] r", "b,h,u,20", "p = MatMul(x, w) y = Add(p, r)", b=2, h=3, u=5),
    product("[b,h,u,16] x, [16,20] w, [u,1] r", "b,h,u,20", "p = MatMul(x, w) y = Mul(p, r)", b=2, h=3, u=5),
    product(
        "[b,u,h,16] x, [16,20] w, [b,1,u,1] r",
        "b,h,u,20",
        "t = Transpose<perm=[0,2,1,3]>(x) p = MatMul(t, w) y = Add(p, r)",
        b=2,
        h=3,
        u=5,
    ),
    # transposed, scaled, of a batch
    product("[9,16] x, [20,16] w, [20] r", "9,20", "y = Gemm<transB=1, alpha=0.5, beta=2.0>(x, w, r)"),
    product("[16,9] x, [16,20] w", "9,20", "y = Gemm<transA=1>(x, w)"),
    product("[m,16] x, [20,16] w, [1] r", "m,20", "y = Gemm<transB=1>(x, w, r)", m=13),
    product("[3,9,16] x, [3,16,20] w", "3,9,20", "y = MatMul(x, w)"),
    product("[1,9,16] x, [2,3,16,20] w", "2,3,9,20", "y = MatMul(x, w)"),
    product("[2,3,9,16] x, [3,16,20] w", "2,3,9,20", "y = MatMul(x, w)"),
    # weights that are not only multiplied
    product("[16,16] x, [16,16] w", "16,16", "p = MatMul(x, w) y = Add(p, w)"),
    product("[16,16] w", "16,16", "y = MatMul(w, w)"),
    # an intermediate used more than once, a condition, a function that is approximated
    product("[9,16] x, [16,20] w", "9,20", "p = MatMul(x, w) s = Sigmoid(p) y = Mul(p, s)"),
    product("[9,16] x, [16,20] w, [20] c", "9,20", "p = MatMul(x, w) n = Neg(p) y = Where(c, p, n)"),
    product("[9,16] x, [16,20] w", "9,20", "p = MatMul(x, w) y = Gelu(p)"),
]

COMPUTED = [
    product("[9,16] x, [16,20] w", "9,20", "y = MatMul(x, w)", ()),
    product("[2,3,9,16] x, [2,1,16,35] w", "2,3,9,35", "y = MatMul(x, w)", ()),
    product("[b,2,9,16] x, [c,1,16,5] w", "c,2,9,5", "y = MatMul(x, w)", (), b=1, c=3),
    product("[h,s,16] x, [h,16,t] w", "h,s,t", "y = MatMul(x, w)", (), h=3, s=11, t=37),
    product("[h,s,t] x, [h,t,8] w", "h,s,8", "y = MatMul(x, w)", (), h=3, s=11, t=37),
    product(
        "[2,9,3,16] x, [2,20,3,16] w, [2,1,1,20] mask",
        "2,3,9,20",
        """q = Transpose<perm=[0,2,1,3]>(x) k = Transpose<perm=[0,2,3,1]>(w)
        p = MatMul(q, k) y = Add(p, mask)""",
        (),
    ),
    product(
        "[2,9,48] x, [20,16] w",
        "2,9,3,20",
        """n = Constant<value_ints=[2,9,3,16]>() r = Reshape(x, n) t = Transpose<perm=[1,0]>(w)
        y = MatMul(r, t)""",
        (),
    ),
]


@pytest.mark.parametrize("machine", MACHINES, ids=lambda m: m.name)
def test_sizes(machine: Cpu):
    check(Gemm(), SIZES, machine)


@pytest.mark.parametrize("machine", MACHINES, ids=lambda m: m.name)
def test_constant_weights(machine: Cpu):
    check(Gemm(), CONSTANT, machine)


@pytest.mark.parametrize("machine", MACHINES, ids=lambda m: m.name)
def test_two_computed_operands(machine: Cpu):
    check(Gemm(), COMPUTED, machine)


def test_rows_of_unknown_dims_are_not_divided_where_only_their_place_counts():
    """TVM takes seconds for each division of what it sees of a row by a symbolic dim."""
    bias = product("[b,h,u,16] x, [16,20] w, [20] r", "b,h,u,20", "p = MatMul(x, w) y = Add(p, r)", b=2, h=3, u=5)
    divisors = re.findall(r"(?://|%) (\w+)", implement(Gemm(), bias, MACHINES[0]).func.script())
    assert not [d for d in divisors if d.startswith("d")]


def test_elements_that_lie_side_by_side_are_loaded_together():
    def depth(case: Weighted) -> int:
        space = Gemm().match(case.workload(), with_lane_operands(4))
        assert not isinstance(space, Refusal)
        return min(space.points(), key=space.estimate).depth

    assert depth(dense(49, 24, 96)) == depth(dense("m", 7, 26, m=5)) == 4
    assert depth(dense(49, 24, 3)) == 1  # fewer than a vector has
    assert depth(product("[16,9] x, [16,20] w", "9,20", "y = Gemm<transA=1>(x, w)")) == 1


def some(space: Space) -> Sequence[Point]:
    return random.Random(7).sample(list(space.points()), 4)


def test_any_point_is_right():
    check(Gemm(), [dense(29, 53, 20), dense("m", 53, 20, m=29), *COMPUTED[1:3]], MACHINES[0], some)


def test_sizes_that_must_agree_are_checked_at_run_time():
    region = product("[m,16] x, [16,20] w, [t,20] r", "m,20", "p = MatMul(x, w) y = Add(p, r)", m=7, t=8)
    implementation = implement(Gemm(), region, MACHINES[0])
    (function,) = library([implementation], MACHINES[0])
    x, w, r = region.arrays()
    arrays = [x, *implementation.packings[1].apply(w), r, r * 0]
    with pytest.raises(ValueError, match="sizes that must be equal are not"):
        function(*map(tvm.runtime.tensor, arrays))
