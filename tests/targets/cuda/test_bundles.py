# ruff: noqa: E501 - graphs are written on one line
"""Neighbouring rows that one thread reduces, or one group: numbers, and what they use of memory."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from dsc.simulator import simulated_rocm
from dsc.targets import Point, Space
from dsc.targets.gpu.generic.kernel import Generic, Launches, PlannedSpace
from dsc.targets.gpu.generic.shares import candidates
from tests.gpu.device import Device
from tests.targets.conv_regions import Case
from tests.targets.cuda.simulated import check, check_convolutions, machine
from tests.targets.regions import Region

CONVOLUTIONS = [
    Case((1, 32, 5, 7), 32, pads=(1, 0, 1, 2), groups=32, block=16, out_block=16, residual=True, activation="Relu"),
    Case(
        (2, 24, 9, 6), 24, kernel=(5, 3), strides=(2, 2), pads=(2, 1, 2, 1), groups=24, block=8, out_block=8, gate=True
    ),
]
POOLS = [
    Region(
        "(float[2,12,7,9] x) => (float[2,12,4,5] y) { y = MaxPool<kernel_shape=[3,3],strides=[2,2],pads=[1,1,1,1]>(x) }",
        block=4,
    ),
    Region("(float16[1,32,5,3] x) => (float16[1,32,4,3] y) { y = MaxPool<kernel_shape=[2,1]>(x) }", block=16),
    Region(
        "(float[1,16,5,5] x, float[1,16,3,3] z) => (float[1,16,3,3] y) { t = AveragePool<kernel_shape=[3,3]>(x) y = Add(t, z) }",
        block=8,
    ),
]


def bundled(space: Space) -> Sequence[Point]:
    """The largest bundles by one thread, and the smallest by a group of threads."""
    assert isinstance(space, PlannedSpace)
    (rows,) = space.plan.launches
    found = [each for each in candidates(rows, space.body.inputs, space.machine) if each.vector > 1]
    alone, shared = ([each for each in found if (each.group == 1) == is_alone] for is_alone in (True, False))
    chosen = max(alone, key=lambda each: each.vector), min(shared, key=lambda each: each.vector)
    return [Launches((shares,)) for shares in chosen]


def test_convolutions(simulation: Device) -> None:
    check_convolutions(Generic(), CONVOLUTIONS, simulation, bundled)


def test_pools(simulation: Device) -> None:
    check(Generic(), POOLS, simulation, bundled)


def test_on_wide_wavefronts() -> None:
    """Exchanges of groups that are parts of a wavefront of 64, and memory whose pieces have 128 bytes."""
    with simulated_rocm("gfx942", order="reverse") as simulation:
        check_convolutions(Generic(), CONVOLUTIONS[:1], simulation, bundled)


def test_loads_and_stores_are_those_of_whole_bundles() -> None:
    """So there are fewer of them, and the pieces of memory that they touch are those that are estimated."""
    space = Generic().match(CONVOLUTIONS[0].workload(), machine("gfx942"))
    assert isinstance(space, PlannedSpace)
    point = next(p for p in space.points() if (p.shares[0].group, p.shares[0].vector) == (1, 4))
    with simulated_rocm("gfx942") as simulation:
        check_convolutions(Generic(), CONVOLUTIONS[:1], simulation, lambda _: [point])
        (counted,) = simulation.counters().values()
    warps = -(-32 * 5 * 7 // 4 // 64)
    # an image and a weight for each tap (kernels of 3x3 read beyond edges under a condition), then bias and residual
    assert counted.global_loads <= warps * (2 * 9 + 2)
    assert counted.global_stores == warps
    assert counted.global_sectors == pytest.approx(space.sectors(point), rel=0.15)


@pytest.mark.parametrize(
    "region",
    [
        Region("(float[1,6,9,9] x, float[6,1,3,3] w) => (float[1,6,7,7] y) { y = Conv<group=6>(x, w) }"),
        Region("(float[33,4] x) => (float[33] y) { a = Constant<value_ints=[1]>() y = ReduceMax<keepdims=0>(x, a) }"),
        Region("(float[n,4,8] x) => (float[n,1,8] y) { a = Constant<value_ints=[1]>() y = ReduceMax(x, a) }", {"n": 3}),
        Region("(float[3,8,8] x) => (float[3,8,8] y) { y = Softmax<axis=1>(x) }"),
    ],
    ids=["rows that are no vectors", "neighbours apart", "free sizes", "elements of their own"],
)
def test_rows_that_are_no_bundles(region: Region) -> None:
    space = Generic().match(region.workload(), machine())
    assert isinstance(space, PlannedSpace)
    assert all(share.vector == 1 for point in space.points() for share in point.shares)
