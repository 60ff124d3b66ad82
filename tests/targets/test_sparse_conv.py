"""Convolutions by sparse weights: where scratch has what a tap reads, what is refused, odd numbers, and the choice.

That results are right is tested in `test_conv_random.py` (floats) and `test_sparse_integers.py` (bytes).
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from dsc.targets import Refusal
from dsc.targets.cpu.conv.kernels import Direct, Winograd
from dsc.targets.cpu.conv.problem import Convolution, Pads
from dsc.targets.cpu.sparse import SparseConv
from dsc.targets.cpu.sparse.plane import Plane
from tests.kernels import machine
from tests.targets.conv_regions import Case
from tests.targets.test_conv_random import run as run_guarded


@pytest.mark.parametrize("strides", [(1, 1), (2, 2), (3, 1), (1, 2)])
@pytest.mark.parametrize("dilations", [(1, 1), (2, 3)])
@pytest.mark.parametrize("kernel", [(1, 1), (3, 3), (5, 2)])
def test_each_tap_is_one_offset(
    strides: tuple[int, int], dilations: tuple[int, int], kernel: tuple[int, int]
) -> None:  # fmt: skip
    """A plane filled with the places of its pixels in the padded image: each tap finds its own."""
    conv = Convolution(1, 1, 23, 19, 1, kernel, strides, dilations, Pads(2, 1, 3, 2), 1, 1)
    plane = Plane(conv, 3, 4)
    lines = np.full(plane.size, -1)
    for phase, (down, right) in enumerate(plane.phases):
        for line, column in itertools.product(range(plane.lines), range(plane.pitch)):
            row, place = line * strides[0] + down, column * strides[1] + right
            lines[plane.start(phase) + line * plane.pitch + column] = 1000 * row + place
    for (ky, kx), tap in zip(itertools.product(*map(range, kernel)), plane.taps, strict=True):
        for y, x in itertools.product(range(plane.rows), range(int(conv.ow))):
            row, place = y * strides[0] + ky * dilations[0], x * strides[1] + kx * dilations[1]
            assert lines[tap + y * plane.pitch + x] == 1000 * row + place
    inside = [plane.columns(right) for _, right in plane.phases]
    for (_, right), columns in zip(plane.phases, inside, strict=True):
        real = [c for c in range(plane.pitch) if 0 <= c * strides[1] + right - conv.pads.left < int(conv.w)]
        assert list(range(columns.begin, columns.end)) == real
        assert not real or columns.first == real[0] * strides[1] + right - conv.pads.left


@pytest.mark.parametrize(
    ("case", "reason"),
    [
        (Case((1, 16, 8, 8), 16), "no weight with a pattern of zeros"),
        (Case((1, 16, 8, 8), 16, groups=2, pattern="4x1"), "channels in groups"),
        (Case((1, 16, 8, 8), 16, pattern="4x1", symbolic=(2,)), "an image whose size is not known"),
        (
            Case(
                (1, 3, 64, 64), 32, kernel=(8, 8), strides=(8, 8), pattern="4x1"
            ),  # patches, as transformers have them
            "strides and taps that make 64 planes of a channel, and 16 are the most",
        ),
    ],
)
def test_what_is_refused(case: Case, reason: str) -> None:
    assert SparseConv().match(case.workload(), machine()) == Refusal(reason)


def test_odd_numbers_reach_the_outputs_that_have_a_weight_for_them() -> None:
    """NaN and infinity, at the edges too, where what is beside the image is multiplied and thrown away."""
    case = Case((1, 16, 7, 9), 16, pads=(1, 1, 1, 1), block=16, out_block=16, pattern="4x1", density=0.3, bias=False)
    space = SparseConv().match(case.workload(), machine())
    assert not isinstance(space, Refusal)
    implementation = space.build(min(space.points(), key=space.estimate))
    x, weight = arrays = case.arrays(3)
    x[0, 3, 0, 0], x[0, 5, 6, 8] = np.nan, np.inf
    found = run_guarded(case, implementation, arrays, end=True).transpose(0, 1, 4, 2, 3).reshape(case.result)
    odd = np.zeros(case.result, bool)
    for channel, row, column in ((3, 0, 0), (5, 6, 8)):
        for ky, kx in itertools.product(range(3), range(3)):
            y, z = row + 1 - ky, column + 1 - kx
            if 0 <= y < 7 and 0 <= z < 9:
                odd[0, :, y, z] |= weight[:, channel, ky, kx] != 0
    np.testing.assert_array_equal(~np.isfinite(found), odd)


@pytest.mark.parametrize(("density", "sparse"), [(0.1, True), (1.0, False)])
def test_zeros_are_skipped_where_that_pays(density: float, sparse: bool) -> None:
    case = Case(
        (1, 128, 28, 28), 128, pads=(1, 1, 1, 1), block=16, out_block=16, pattern="4x1", density=density
    )  # fmt: skip
    best = {}
    for kernel in (SparseConv(), Direct(), Winograd()):
        space = kernel.match(case.workload(), machine("x86:znver4"))
        assert not isinstance(space, Refusal)
        best[kernel.name] = min(map(space.estimate, space.points()))
    assert (min(best, key=best.__getitem__) == "cpu.conv2d.sparse") is sparse


def test_single_entries_cost_what_l2_gives() -> None:
    """Of blocks of four outputs products hide what is loaded for them; of single ones nothing does.

    Measured on a Zen 4 at 30 %: single entries take 2.0 times as long, 430 and 220 us on one thread.
    """
    best = []
    for pattern in ("4x1", "unstructured"):
        case = Case((1, 256, 7, 7), 256, pads=(1, 1, 1, 1), block=16, out_block=16, pattern=pattern, density=0.3)
        space = SparseConv().match(case.workload(), machine("x86:znver4"))
        assert not isinstance(space, Refusal)
        best.append(min(map(space.estimate, space.points())))
    assert 1.7 < best[1] / best[0] < 2.5


def test_large_images_are_cut_until_scratch_fits() -> None:
    case = Case((1, 64, 512, 512), 64, pads=(1, 1, 1, 1), block=16, out_block=16, pattern="4x1", density=0.1)
    cpu = machine("x86:znver4")
    space = SparseConv().match(case.workload(), cpu)
    assert not isinstance(space, Refusal)
    point = min(space.points(), key=space.estimate)
    assert 4 * 64 * (point.rows + 2) * 514 < cpu.l2_bytes
