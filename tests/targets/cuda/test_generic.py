# ruff: noqa: E501 - graphs are written on one line
"""The generic kernel of GPUs: any body, any shape, against ONNX Runtime."""

from __future__ import annotations

import numpy as np
import pytest
import tvm

from dsc.targets.gpu.generic.kernel import Generic, Launches, PlannedSpace
from dsc.targets.gpu.generic.shares import Shares
from tests.gpu.device import Device
from tests.targets.cuda.simulated import backend, check, device, every, library, machine
from tests.targets.regions import Region
from tests.targets.test_generic import ELEMENTWISE, REDUCTIONS, ROWS, SHAPES, TWICE, WINDOWS

OTHERS = [
    # vectors: of one type, of two, beside what is broadcast; lengths that they do not divide
    Region("(float[5,12] x, float[12] s, float[5,12] r) => (float[5,12] y, float[5,12] z) { t = Mul(x, s) y = Add(t, r) z = Tanh(y) }"),
    Region("(float16[3,8] x, float[3,8] r) => (float[3,8] y) { t = Cast<to=1>(x) y = Sub(t, r) }"),
    Region("(float16[7,40] x) => (float16[7,40] y) { t = Floor(x) u = Sqrt(t) y = Where(c, u, x) }".replace("(float16[7,40] x)", "(float16[7,40] x, bool[40] c)", 1)),
    # a sum of which each row reads another: it is in memory first
    Region("(float[6,5] x) => (float[6,6] y) { p = Transpose<perm=[1,0]>(x) t = MatMul(x, p) y = Softmax<axis=-1>(t) }"),
    # what follows a product in one row, and more rows than a block has groups
    Region("(float[257,65] x) => (float[257] y) { a = Constant<value_ints=[1]>() y = ReduceL2<keepdims=0>(x, a) }"),
    # results of several shapes
    Region("(float[9,16] x) => (float[9,16] y, float[9,1] z) { a = Constant<value_ints=[1]>() z = ReduceMax<keepdims=1>(x, a) y = Sub(x, z) }"),
    Region("(float[4,6] x, float[7] r) => (float[4,6] y, float[7] z) { y = Neg(x) z = Abs(r) }"),
    Region("(float[2,3] x, int64[2,2] i, float[2,3] u) => (float[2,3] y) { j = Cast<to=7>(i) y = Add(x, u) }"),
    Region("(float[4,3] x, int64[2,1] i, float[2,3] u) => (float[4,3] y) { k = Constant<value_ints=[3]>() j = Mod(i, k) y = ScatterND(x, j, u) }"),
    Region("(float[n,4] x) => (float[n,4] y) { y = Relu(x) }", {"n": 0}),
    Region("(float[n,4] x) => (float[n] y) { a = Constant<value_ints=[1]>() y = ReduceSum<keepdims=0>(x, a) }", {"n": 0}),
]  # fmt: skip
GROUPS = {
    "elementwise": ELEMENTWISE,
    "rows": ROWS,
    "reductions": REDUCTIONS,
    "windows, shapes": [*WINDOWS, *SHAPES],
    "others": [*TWICE, *OTHERS],
}


@pytest.mark.parametrize("group", GROUPS)
def test_workloads(group: str, simulation: Device) -> None:
    check(Generic(), [region for region in GROUPS[group] if region.block == 1], simulation)


def test_every_way_to_share_rows(in_any_order: Device) -> None:
    regions = [
        Region("(float[5,1100] x) => (float[5,1100] y) { y = Softmax<axis=-1>(x) }"),
        Region("(float[2,37,3] x) => (float[2,37,3] y) { y = Softmax<axis=1>(x) }"),
        Region("(float[33,70] x) => (int64[33] y) { y = ArgMax<axis=1, keepdims=0>(x) }"),
    ]
    check(Generic(), regions, in_any_order, every)


def test_a_softmax_is_one_launch_and_so_is_a_norm() -> None:
    partly_known = Region("(float[4,n] x) => (float[4,n] y) { y = Softmax(x) }")
    for region in (ROWS[0], ROWS[1], ROWS[5], ROWS[7], *REDUCTIONS[:3], partly_known):
        space = Generic().match(region.workload(), machine())
        assert isinstance(space, PlannedSpace)
        assert len(space.plan.launches) == 1, region.text


def test_what_each_row_would_compute_again_is_in_memory_first() -> None:
    space = Generic().match(OTHERS[3].workload(), machine())
    assert isinstance(space, PlannedSpace)
    assert len(space.plan.stored) == 1
    assert len(space.plan.launches) == 2


def test_neighbours_share_long_rows_and_take_a_column_each() -> None:
    for axis, shared in ((1, True), (0, False)):
        text = f"(float[64,65536] x) => (float[64,65536] y) {{ y = Softmax<axis={axis}>(x) }}"
        space = Generic().match(Region(text).workload(), machine())
        best = min(space.points(), key=space.estimate)
        assert (best.shares[0].group > 1) == shared


def test_numbers_that_are_none(simulation: Device) -> None:
    region = Region(
        "(float[4,40] x) => (float[4,40] y, float[4,1] z) { a = Constant<value_ints=[1]>() y = Relu(x) z = ReduceMax<keepdims=1>(x, a) }"
    )
    space = Generic().match(region.workload(), machine(simulation.arch))
    assert isinstance(space, PlannedSpace)
    code = library({"k": space.build(Launches((Shares(8, 128),))).func}, backend(simulation))
    x = np.random.default_rng(0).standard_normal((4, 40)).astype(np.float32)
    x[0, 7], x[1, 39], x[2, 0] = np.nan, np.inf, -np.inf
    x[3] = -np.inf
    y, z = (tvm.runtime.tensor(np.zeros(shape, np.float32), device(simulation)) for shape in ((4, 40), (4, 1)))
    code["k"](tvm.runtime.tensor(x, device(simulation)), y, z)
    np.testing.assert_array_equal(z.numpy(), np.max(x, axis=1, keepdims=True))
    np.testing.assert_array_equal(y.numpy()[1:], np.maximum(x[1:], 0))
