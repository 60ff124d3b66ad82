from __future__ import annotations

from itertools import pairwise, permutations

import numpy as np
import pytest

from dsc.quantize.calibration import Histogram
from dsc.quantize.calibration.histogram import BINS
from dsc.quantize.calibration.statistics import Values

RANDOM = np.random.default_rng(5)
ARRAYS = {
    "normal": [
        RANDOM.standard_normal(n).astype(np.float32) * s for n, s in ((1, 1e-3), (70_001, 1), (333, 40), (5, 3))
    ],
    "negative": [-RANDOM.random((7, 11)).astype(np.float32) - i for i in range(3)],
    "zeros first": [np.zeros(9, np.float32), RANDOM.standard_normal(1000).astype(np.float32), np.full(2, 1e30, "f")],
    "far from zero": [np.float32(1000) + RANDOM.random(500).astype(np.float32) for _ in range(3)],
    "tiny": [RANDOM.standard_normal(100).astype(np.float32) * np.float32(1e-38) for _ in range(2)],
    "huge": [np.array([-3e38, 3e38, 1], np.float32), np.array([5], np.float32)],
    "double": [RANDOM.standard_normal(1000) * 1e200, RANDOM.standard_normal(100)],
    "one number": [np.full(4, -2.5, np.float32)] * 3,
}


def values(array: np.ndarray) -> Values:
    return Values(array, float(array.min()), float(array.max()))


def histogram(arrays: list[np.ndarray]) -> Histogram:
    found = Histogram()
    for array in arrays:
        found.add(values(array))
    return found


@pytest.mark.parametrize("arrays", ARRAYS.values(), ids=ARRAYS)
def test_counts_are_those_of_all_numbers_at_once(arrays: list[np.ndarray]) -> None:
    everything = np.concatenate([array.reshape(-1) for array in arrays]).astype(np.float64)
    found = histogram(arrays)
    assert (found.low, found.high) == (everything.min(), everything.max())
    assert found.width == 2.0 ** round(np.log2(found.width))
    assert len(found.counts) <= BINS
    expected = np.bincount((np.floor(everything / found.width) - found.first).astype(int), minlength=len(found.counts))
    np.testing.assert_array_equal(found.counts, expected)
    assert found.edges[0] <= everything.min() < found.edges[1]
    assert found.edges[-2] <= everything.max() < found.edges[-1]


@pytest.mark.parametrize("arrays", ARRAYS.values(), ids=ARRAYS)
def test_the_order_of_samples_does_not_matter(arrays: list[np.ndarray]) -> None:
    first, *others = [histogram(list(order)) for order in permutations(arrays)]
    for other in others:
        assert (other.first, other.width) == (first.first, first.width)
        np.testing.assert_array_equal(other.counts, first.counts)


def test_half_of_the_bins_at_least_are_between_the_extremes() -> None:
    for scale in (1e-20, 0.7, 1, 1.5, 1e9):
        array = RANDOM.standard_normal(50).astype(np.float32) * np.float32(scale)
        assert BINS / 2 <= len(histogram([array]).counts) <= BINS


def test_its_size_does_not_grow_with_the_samples() -> None:
    found, sizes = Histogram(), []
    for _ in range(50):
        found.add(values(RANDOM.standard_normal(1000).astype(np.float32) * RANDOM.integers(1, 100)))
        sizes.append(found.counts.nbytes)
    assert max(sizes) <= BINS * 8
    assert found.counts.sum() == 50_000


def test_centers_of_the_outer_bins_are_between_the_extremes() -> None:
    found = histogram([np.array([3, 3, 3], np.float32)])
    assert found.centers.tolist() == [3.0]
    assert all(a < b for a, b in pairwise(histogram(ARRAYS["normal"]).centers.tolist()))


def test_infinities_are_not_counted() -> None:
    found = Histogram()
    found.add(Values(np.array([[1, np.inf], [-np.inf, 2]], np.float32), 1.0, 2.0, finite=False))
    assert found.counts.sum() == 2
