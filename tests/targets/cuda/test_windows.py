# ruff: noqa: E501 - graphs are written on one line
"""Windows of packed images: a thread has several channels of a pixel, which it loads at once."""

from __future__ import annotations

import numpy as np
import pytest
import tvm

from dsc.simulator import simulated_cuda, simulated_rocm
from dsc.targets.gpu.generic.kernel import Generic, Launches, PlannedSpace
from dsc.targets.gpu.generic.shares import Shares, candidates
from dsc.targets.kernel import Point, Space
from tests.gpu.device import Device
from tests.targets.conv_regions import Case
from tests.targets.cuda.simulated import backend, check, check_convolutions, device, library, machine
from tests.targets.regions import Region

HALVES = 4e-3
"""Of values up to four: two units in the last place."""
POOLS = [
    Region("(float16[2,32,9,7] x) => (float16[2,32,5,4] y) { y = MaxPool<kernel_shape=[3,3],strides=[2,2],pads=[1,1,1,1]>(x) }", block=16),
    Region("(float[3,8,6,11] x) => (float[3,8,3,6] y) { y = MaxPool<kernel_shape=[2,2],strides=[2,2],ceil_mode=1>(x) }", block=8),
    Region("(float16[1,8,5,5] x) => (float16[1,8,5,5] y) { y = AveragePool<kernel_shape=[3,3],pads=[1,1,1,1]>(x) }", block=8, atol=HALVES),
    Region("(float[2,12,5,4] x, float[2,12,4,3] r) => (float[2,12,4,3] y) { a = AveragePool<kernel_shape=[2,2]>(x) y = Add(a, r) }", block=4),
]  # fmt: skip
PLAIN = [
    Region(
        "(float16[2,5,9,7] x) => (float16[2,5,5,4] y) { y = MaxPool<kernel_shape=[3,3],strides=[2,2],pads=[1,1,1,1]>(x) }"
    ),
    Region("(float16[2,6,8,8] x) => (float16[2,6,8,8] y) { y = MaxPool<kernel_shape=[3,3],pads=[1,1,1,1]>(x) }"),
]
"""Whose neighbours are pixels: under other conditions, or two apart."""
DEPTHWISE = [
    Case((2, 32, 9, 7), 32, pads=(1, 1, 1, 1), strides=(2, 2), groups=32, block=16, out_block=16, activation="Relu"),
    Case((1, 8, 6, 5), 8, groups=8, block=8, out_block=8, bias=False, residual=True),
]


def widest(space: Space) -> list[Point]:
    """The point whose threads have most rows, whatever the estimate says of images as small as these."""
    assert isinstance(space, PlannedSpace)
    (rows,) = space.plan.launches
    shares = max(candidates(rows, space.body.inputs, space.machine), key=lambda each: each.vector)
    assert shares.vector > 1
    return [Launches((shares,))]


@pytest.mark.parametrize("arch", ["sm_80", "gfx942"])
def test_windows_of_several_channels(arch: str) -> None:
    on = simulated_cuda if arch.startswith("sm") else simulated_rocm
    with on(arch, order="reverse") as simulation:
        check(Generic(), POOLS, simulation, widest)
        check_convolutions(Generic(), DEPTHWISE, simulation, widest)


@pytest.mark.parametrize("tag", ["sm_90", "gfx942"])
def test_threads_load_as_much_as_they_can_at_once(tag: str) -> None:
    """In images as networks begin with; in small ones more threads are worth more."""
    for kind, pool, vector in (("float16", "MaxPool", 8), ("float", "AveragePool", 4)):
        text = f"({kind}[32,64,112,112] x) => ({kind}[32,64,56,56] y) {{ y = {pool}<kernel_shape=[3,3],strides=[2,2],pads=[1,1,1,1]>(x) }}"
        space = Generic().match(Region(text, block=16).workload(), machine(tag))
        assert min(space.points(), key=space.estimate).shares[0].vector == vector, text


def test_pixels_side_by_side_are_not_taken_for_channels() -> None:
    for region in PLAIN:
        space = Generic().match(region.workload(), machine())
        assert all(point.shares[0].vector == 1 for point in space.points()), region.text


def test_numbers_that_are_none_stay_in_their_channel(simulation: Device) -> None:
    region = POOLS[0]
    space = Generic().match(region.workload(), machine(simulation.arch))
    assert isinstance(space, PlannedSpace)
    code = library({"k": space.build(Launches((Shares(1, 128, 8),))).func}, backend(simulation))
    x = np.random.default_rng(0).standard_normal((2, 32, 9, 7)).astype(np.float16)
    x[0, 3, 3, 3], x[1, 16, 0, 0], x[1, 31, 8, 6] = np.nan, np.inf, -np.inf
    x[1, 7] = -np.inf
    around = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=-np.inf)
    windows = np.lib.stride_tricks.sliding_window_view(around, (3, 3), axis=(2, 3))[:, :, ::2, ::2]
    expected = region.pack(windows.max(axis=(4, 5)), "outputs")
    y = tvm.runtime.tensor(np.full_like(expected, 77), device(simulation))
    code["k"](tvm.runtime.tensor(region.pack(x, "inputs"), device(simulation)), y)
    np.testing.assert_array_equal(y.numpy(), expected)
    assert np.isnan(expected).sum() == 4
