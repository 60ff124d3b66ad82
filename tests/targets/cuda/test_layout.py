# ruff: noqa: E501 - graphs are written on one line
"""Packed images on GPUs: convolutions and others against ONNX Runtime, and how well they use memory."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from dsc.simulator import Simulation, simulated_cuda
from dsc.targets import Kernel, Refusal, target
from dsc.targets.gpu.contraction import Contract
from dsc.targets.gpu.contraction.source import Contraction, contraction_of
from dsc.targets.gpu.generic.kernel import Generic, PlannedSpace
from dsc.targets.gpu.machine import Gpu
from dsc.targets.gpu.transpose import Transpose
from tests.targets.conv_regions import Case
from tests.targets.cuda.simulated import check, check_convolutions, machine
from tests.targets.regions import Region

RAGGED = [
    Case(
        (2, 32, 9, 11), 64, pads=(1, 1, 1, 1), strides=(2, 1), block=16, out_block=16, activation="Relu", residual=True
    ),
    Case((2, 32, 9, 11), 64, pads=(0, 1, 2, 1), groups=4, block=16, out_block=16, gate=True),
    Case((1, 24, 7, 7), 40, kernel=(3, 2), dilations=(2, 1), pads=(2, 0, 1, 1), block=8, out_block=8, residual=True),
    Case((2, 12, 9, 12), 20, kernel=(1, 1), block=4, out_block=4, gate=True),
    Case((1, 16, 8, 9), 33, kernel=(1, 1), block=16),
    Case((2, 32, 5, 6), 16, pads=(1, 1, 1, 1), block=16, out_block=16, activation="Silu", symbolic=(0, 2, 3)),
    Case((1, 5, 6, 7), 9, pads=(1, 0, 0, 1)),
]
"""Sizes that no tile divides, groups, steps and holes."""
CONVOLUTIONS = [
    Case((1, 32, 7, 7), 64, pads=(1, 1, 1, 1), block=16, out_block=16, residual=True, activation="Relu"),
    Case((1, 64, 7, 7), 64, kernel=(1, 1), block=16, out_block=16),
    Case((1, 32, 14, 14), 64, kernel=(1, 1), strides=(2, 2), block=16, out_block=16),
    Case((1, 24, 7, 7), 40, kernel=(1, 1), block=8, out_block=8, gate=True),
    Case((1, 3, 32, 32), 32, pads=(0, 0, 1, 1), strides=(2, 2), out_block=16, activation="Relu"),
]
DEPTHWISE = [
    Case((1, 32, 14, 14), 32, pads=(1, 1, 1, 1), groups=32, block=16, out_block=16, activation="Relu"),
    Case((1, 24, 15, 15), 24, kernel=(5, 5), strides=(2, 2), pads=(2, 2, 2, 2), groups=24, block=8, out_block=8),
]
OTHERS = [
    Region(
        "(float[1,32,14,14] x) => (float[1,32,7,7] y) { y = MaxPool<kernel_shape=[2,2],strides=[2,2]>(x) }", block=16
    ),
    Region("(float[2,24,9,9] x) => (float[2,24,7,7] y) { y = AveragePool<kernel_shape=[3,3]>(x) }", block=8),
    Region("(float[1,64,7,7] x) => (float[1,64,1,1] y) { y = GlobalAveragePool(x) }", block=16, sides="inputs"),
    Region("(float[2,32,7,7] x, float[2,32,7,7] z) => (float[2,32,7,7] y) { t = Add(x, z) y = Relu(t) }", block=16),
    Region("(float[1,16,7,7] x, float[1,32,7,7] z) => (float[1,48,7,7] y) { y = Concat<axis=1>(x, z) }", block=16),
]
BORDERS = [
    Region("(float[1,32,7,9] x) => (float[1,32,7,9] y) { y = Identity(x) }", block=16, sides=sides)
    for sides in ("inputs", "outputs")
]  # fmt: skip


def test_ragged_convolutions() -> None:
    with simulated_cuda("sm_80", order="reverse") as simulation:
        check_convolutions(Contract(), RAGGED, simulation)


def test_images_are_packed_on_gpus() -> None:
    for tag in ("cuda:sm_80", "rocm:gfx942"):
        assert target(tag).passes() == "layout{block=16},sparsity"


def test_how_a_packed_convolution_is_a_product() -> None:
    source = contraction_of(RAGGED[0].workload())
    assert isinstance(source, Contraction)
    assert (source.batch, source.rows, source.columns) == ((), (2, 5, 11), (4, 16))
    assert source.depth == (2, 3, 3, 16)
    assert source.a.access is not None
    assert source.a.access.vector(source.a.depth_axes, 4) == 4


def test_groups_are_batch() -> None:
    source = contraction_of(RAGGED[1].workload())
    assert isinstance(source, Contraction)
    assert (source.batch, source.rows, source.columns) == ((2, 2), (2, 9, 11), (16,))


def test_one_channel_each_is_left_to_the_generic_kernel() -> None:
    found = contraction_of(DEPTHWISE[0].workload())
    assert isinstance(found, Refusal)
    assert "along the same axes" in found.reason


def used(simulation: Simulation) -> list[float]:
    return [counted.coalescing for counted in simulation.counters().values()]


def estimated_sectors(case: Case | Region) -> float:
    """Of the generic kernel's best point: warps are sampled, and parts of a warp may be beyond an edge."""
    space = Generic().match(case.workload(), machine())
    assert isinstance(space, PlannedSpace)
    return space.sectors(min(space.points(), key=space.estimate))


def check_estimates(kernel: Kernel[Gpu], cases: Sequence[Case] | Sequence[Region], simulation: Simulation) -> None:
    """Of what the simulator has just counted."""
    if isinstance(kernel, Generic):
        counted = [each.global_sectors for each in simulation.counters().values()]
        assert counted == pytest.approx([estimated_sectors(case) for case in cases], rel=0.15)


@pytest.mark.parametrize(("kernel", "cases"), [(Contract(), CONVOLUTIONS), (Generic(), DEPTHWISE)])
def test_convolutions_use_what_they_fetch(kernel: Kernel[Gpu], cases: Sequence[Case], simulation: Simulation) -> None:
    check_convolutions(kernel, cases, simulation)
    assert len(used(simulation)) == len(cases)
    assert min(used(simulation)) >= 0.8
    check_estimates(kernel, cases, simulation)


@pytest.mark.parametrize(("kernel", "regions"), [(Generic(), OTHERS), (Transpose(), BORDERS)])
def test_others_use_what_they_fetch(kernel: Kernel[Gpu], regions: Sequence[Region], simulation: Simulation) -> None:
    check(kernel, regions, simulation)
    assert len(used(simulation)) == len(regions)
    assert min(used(simulation)) >= 0.8
    check_estimates(kernel, regions, simulation)


@pytest.mark.parametrize("text", [
    "(float[5,16] x, float[16,8] w) => (float[8,5] y) { p = MatMul(x, w) y = Transpose(p) }",
    "(float[2,9,16] x, float[16,24] w) => (float[2,4,9,6] y) { s = Constant<value_ints=[2,9,4,6]>() p = MatMul(x, w) t = Reshape(p, s) y = Transpose<perm=[0,2,1,3]>(t) }",
])  # fmt: skip
def test_results_that_are_moved_are_stored_where_they_belong(text: str, simulation: Simulation) -> None:
    check(Contract(), [Region(text, atol=1e-4)], simulation)
