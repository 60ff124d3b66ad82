"""Convolutions that multiply the pixels under a row of the filter as one run of elements: when they do, and numbers.

Numbers are whole and small, so that nothing is rounded and results are exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import tvm

from dsc.targets import Refusal
from dsc.targets.cpu.backend import CpuBackend
from dsc.targets.cpu.conv.direct import DirectPoint, PackWeights
from dsc.targets.cpu.conv.direct_space import DirectSpace
from dsc.targets.cpu.conv.kernels import Direct
from dsc.targets.cpu.machine import Cpu
from dsc.targets.kernel import ArrayType
from tests.kernels import compiled, machine
from tests.targets.conv_regions import Case, arguments, pack

RANDOM = np.random.default_rng(71)
MULTIPLIES_PAIRS = bool(machine().multiply_adds("bfloat16", "bfloat16", "float32"))
on_a_host_of_bfloat16 = pytest.mark.skipif(not MULTIPLIES_PAIRS, reason="this processor does not multiply bfloat16")

CASES = {
    "stem": Case((1, 3, 19, 22), 24, kernel=(7, 7), strides=(2, 2), pads=(3, 3, 3, 3), activation="Relu"),
    "3x3, uneven padding": Case((2, 3, 11, 12), 16, strides=(2, 2), pads=(0, 0, 1, 1), out_block=16),
    "one channel": Case((3, 1, 9, 10), 12, kernel=(3, 3), pads=(1, 1, 1, 1), bias=False),
    "one channel, even filter": Case((1, 1, 12, 9), 8, kernel=(4, 4), strides=(3, 3), pads=(2, 1, 0, 2), out_block=8),
    "five channels, strided unevenly": Case((2, 5, 13, 14), 17, kernel=(5, 3), strides=(3, 1), pads=(1, 2, 0, 0)),
    "seven channels, dilated rows": Case((1, 7, 12, 9), 32, kernel=(3, 5), dilations=(2, 1), out_block=16),
    "narrower than the filter": Case((2, 3, 5, 2), 16, kernel=(3, 7), pads=(1, 3, 1, 3)),
    "one pixel": Case((3, 7, 1, 1), 9, kernel=(3, 3), pads=(1, 1, 1, 1)),
    "one row of the filter": Case((2, 3, 4, 31), 20, kernel=(1, 9), strides=(1, 2)),
    "any size": Case((2, 3, 9, 13), 16, kernel=(5, 5), strides=(2, 2), pads=(2, 2, 1, 1), symbolic=(0, 2, 3)),
}


def space_of(case: Case, onto: Cpu, multiplied_as: str | None = "bfloat16") -> DirectSpace:
    space = Direct().match(replace(case.workload(), multiplied_as=multiplied_as), onto)
    assert not isinstance(space, Refusal)
    return space


def joined(space: DirectSpace) -> list[DirectPoint]:
    return [point for point in space.points() if point.joined]


def computed(case: Case, arrays: Sequence[np.ndarray], point: DirectPoint, space: DirectSpace) -> np.ndarray:
    """What the code of a point makes of `arrays`, in memory that a NaN is left in."""
    made = space.build(point)
    shape = pack(np.empty(case.result, np.float32), case.out_block).shape
    result = tvm.runtime.tensor(np.full(shape, np.nan, np.float32))
    compiled(made.func, CpuBackend(space.machine))(*arguments(case, arrays, made), result)
    return np.asarray(result.numpy())


def whole(case: Case) -> list[np.ndarray]:
    """Inputs of few bits; no weight is 0."""
    x, w, *others = case.arrays(seed=int(RANDOM.integers(1 << 30)))
    weights = RANDOM.choice(np.float32([-2, -1, 1, 2]), w.shape)
    return [np.round(8 * x), weights, *(np.round(other) for other in others)]


@on_a_host_of_bfloat16
@pytest.mark.parametrize("name", CASES)
def test_exactly(name: str) -> None:
    case, arrays = CASES[name], whole(CASES[name])
    space = space_of(case, machine())
    points = sorted(joined(space), key=space.estimate)
    for point in {points[0], points[RANDOM.integers(len(points))]}:
        np.testing.assert_array_equal(
            computed(case, arrays, point, space), pack(case.reference(arrays), case.out_block)
        )


@on_a_host_of_bfloat16
@pytest.mark.parametrize("name", ["stem", "one channel", "five channels, strided unevenly", "narrower than the filter"])
@pytest.mark.parametrize("special", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_reaches_its_taps_only(name: str, special: float) -> None:
    """In the first and last pixels of rows and images, and elsewhere: the last pair of a run reads one element more."""
    case = CASES[name]
    space = space_of(case, machine())
    made = space.build(min(joined(space), key=space.estimate))
    code = compiled(made.func, CpuBackend(space.machine))
    _, c, h, w = case.x
    edges = [(0, 0, 0), (0, 0, w - 1), (c - 1, h - 1, 0), (c - 1, h - 1, w - 1), (0, h - 1, w // 2)]
    for channel, row, column in [*edges, *((c // 2, h // 2, i) for i in range(w))]:
        arrays = whole(case)
        arrays[0][0, channel, row, column] = special
        expected = pack(case.reference(arrays), case.out_block)
        result = tvm.runtime.tensor(np.zeros(expected.shape, np.float32))
        code(*arguments(case, arrays, made), result)
        np.testing.assert_array_equal(result.numpy(), expected)


@pytest.mark.parametrize("case", [CASES["stem"], CASES["3x3, uneven padding"], CASES["one channel"]])
def test_fewer_pairs_are_estimated_faster(case: Case) -> None:
    space = space_of(replace(case, x=(1, case.x[1], 224, 224)), machine("x86:znver4"))
    assert min(space.points(), key=space.estimate).joined


@pytest.mark.parametrize(
    ("why", "case", "multiplied_as"),
    [
        ("pairs without zeros", Case((1, 6, 16, 16), 16, pads=(1, 1, 1, 1)), "bfloat16"),
        ("a column of the filter", Case((1, 3, 16, 16), 16, kernel=(3, 1)), "bfloat16"),
        ("pixels that are not neighbours", Case((1, 3, 16, 16), 16, dilations=(1, 2)), "bfloat16"),
        ("packed", Case((1, 16, 16, 16), 16, block=16, pads=(1, 1, 1, 1)), "bfloat16"),
        ("grouped", Case((1, 6, 16, 16), 16, groups=2, pads=(1, 1, 1, 1)), "bfloat16"),
        ("one element at a time", Case((1, 3, 16, 16), 16, pads=(1, 1, 1, 1)), None),
    ],
)
def test_pixels_are_not_joined(why: str, case: Case, multiplied_as: str | None) -> None:
    points = space_of(case, machine("x86:znver4"), multiplied_as).points()
    assert points
    assert not any(point.joined for point in points), why


def test_weights_of_a_row_follow_one_another() -> None:
    weight = RANDOM.integers(-9, 9, (5, 3, 2, 3)).astype(np.int8)
    packing = PackWeights(groups=1, panel=4, inner=12, k=4, dtype="int8", sums=True, joined=True)
    panels, sums = packing.apply(weight)
    assert panels.shape == packing.arrays(ArrayType(weight.shape, "int8"))[0].shape == (1, 2, 1, 2, 1, 3, 16)
    np.testing.assert_array_equal(sums, weight.sum((1, 2, 3)))
    for oc, row, place in np.ndindex(5, 2, 12):
        found = panels[0, oc // 4, 0, row, 0, place // 4, oc % 4 * 4 + place % 4]
        assert found == (weight[oc, place % 3, row, place // 3] if place < 9 else 0)
