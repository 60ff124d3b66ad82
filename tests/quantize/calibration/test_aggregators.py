from __future__ import annotations

import numpy as np
import pytest

from dsc.errors import UsageError
from dsc.quantize.calibration import CALIBRATORS, Histogram, Range, find_calibrator
from dsc.quantize.calibration.entropy import LEVELS, _divergence
from tests.quantize.calibration.test_histogram import histogram

RANDOM = np.random.default_rng(8)


def _swish(x: np.ndarray) -> np.ndarray:
    return x / (1 + np.exp(-x))


TENSORS = {
    "normal": RANDOM.standard_normal(20_000),
    "relu": np.maximum(RANDOM.standard_normal(20_000), 0),
    "laplace": RANDOM.laplace(size=20_000),
    "outlier": np.append(RANDOM.standard_normal(20_000), [60.0]),
    "swish": _swish(3 * RANDOM.standard_normal(20_000)),
    "negative": -np.abs(RANDOM.standard_normal(20_000)),
    "shifted": 3 + RANDOM.random(20_000),
}
OF_HISTOGRAMS = [name for name, calibrator in CALIBRATORS.items() if calibrator.statistic is Histogram]


def tensor(name: str) -> np.ndarray:
    return TENSORS[name].astype(np.float32)


def found(calibrator: str, array: np.ndarray) -> Range:
    range_ = find_calibrator(calibrator).aggregate(histogram([array]))
    assert isinstance(range_, Range)
    return range_


def error(array: np.ndarray, low: float, high: float) -> float:
    """The mean squared error of 8 bits, straight from the definition."""
    low, high = min(low, 0), max(high, 0)
    step = (high - low) / 255
    zero = np.rint(-low / step)
    codes = np.clip(np.rint(array.astype(np.float64) / step) + zero, 0, 255)
    return float(np.mean(((codes - zero) * step - array) ** 2))


@pytest.mark.parametrize("name", TENSORS)
@pytest.mark.parametrize("percent", [90, 99, 99.9, 100])
def test_a_percentile_leaves_out_its_share(name: str, percent: float) -> None:
    array = tensor(name)
    range_, tail = found(f"percentile-{percent:g}", array), (100 - percent) / 200
    near = histogram([array]).width  # a bin: where in it a number is, nobody knows
    for below, end in ((tail, range_.low), (1 - tail, range_.high)):
        assert np.mean(array <= end - near) - 1e-9 <= below <= np.mean(array <= end + near) + 1e-9


@pytest.mark.parametrize("name", TENSORS)
def test_the_least_squared_error_is_least(name: str) -> None:
    array = tensor(name)
    range_ = found("mse", array)
    low, high = min(float(array.min()), 0), max(float(array.max()), 0)
    tried = [error(array, low * a, high * b) for a in np.linspace(0.05, 1, 20) for b in np.linspace(0.05, 1, 20)]
    # what bins and a grid of factors lose: a few percent
    assert error(array, range_.low, range_.high) <= 1.05 * min(tried)


def test_each_end_is_drawn_in_by_itself() -> None:
    """One number on the other side takes half of the codes, and clipping it costs less than they are worth."""
    array = np.append(-10 * RANDOM.random(400_000), [10]).astype(np.float32)
    range_ = found("mse", array)
    assert range_.low == pytest.approx(-10, rel=0.03)
    assert range_.high < 5
    assert error(array, range_.low, range_.high) < 0.8 * error(array, -10, 10)


def plain_divergence(counts: list[float], kept: int) -> float:
    """The steps of Migacz' slide 38, one bin after the other."""
    p = list(counts[:kept])
    p[-1] += sum(counts[kept:])
    q = [0.0] * kept
    for level in range(LEVELS):
        bins = range(level * kept // LEVELS, (level + 1) * kept // LEVELS)
        occupied = [i for i in bins if counts[i] > 0]
        for i in occupied:
            q[i] = sum(counts[j] for j in bins) / len(occupied)
    total_p, total_q = sum(p), sum(q)
    return sum(a / total_p * np.log((a / total_p) / (b / total_q)) for a, b in zip(p, q, strict=True) if a)


@pytest.mark.parametrize("kept", [LEVELS, LEVELS + 1, 200, 255, 256, 300])
def test_the_divergence_is_that_of_the_slides(kept: int) -> None:
    counts = RANDOM.integers(0, 4, 300).astype(np.float64) * (RANDOM.random(300) > 0.3)
    counts[kept - 1] = 2
    assert _divergence(counts.copy(), kept) == pytest.approx(plain_divergence(counts.tolist(), kept), rel=1e-9)
    counts[kept - 1] = 0
    assert _divergence(counts, kept) == np.inf


def test_entropy_clips_an_outlier_and_keeps_what_is_dense() -> None:
    assert 3 < found("entropy", tensor("outlier")).high < 6
    even = RANDOM.random(50_000).astype(np.float32)
    assert found("entropy", even).high > 0.98


def test_entropy_clips_magnitudes_and_goes_no_further_than_the_tensor() -> None:
    array = tensor("swish")
    range_ = found("entropy", array)
    assert range_.low == array.min()
    assert 1 < range_.high <= array.max()
    mirrored = found("entropy", -array)
    assert (mirrored.low, mirrored.high) == pytest.approx((-range_.high, -range_.low), abs=2e-2)


@pytest.mark.parametrize("calibrator", OF_HISTOGRAMS)
@pytest.mark.parametrize("number", [0.0, -0.0, 5.5, -1e-30, 3e38, 1e-45])
def test_a_constant_has_the_range_of_its_number(calibrator: str, number: float) -> None:
    array = np.full(7, number, np.float32)
    assert found(calibrator, array) == Range(float(array[0]), float(array[0]))


@pytest.mark.parametrize("calibrator", OF_HISTOGRAMS)
@pytest.mark.parametrize("name", TENSORS)
def test_a_range_is_within_the_extremes(calibrator: str, name: str) -> None:
    array = tensor(name)
    range_ = found(calibrator, array)
    assert array.min() <= range_.low <= range_.high <= array.max()


@pytest.mark.parametrize("calibrator", OF_HISTOGRAMS)
def test_two_numbers_are_enough(calibrator: str) -> None:
    range_ = found(calibrator, np.array([-2, 6], np.float32))
    assert -2 <= range_.low < range_.high <= 6


@pytest.mark.parametrize(
    "name", ["percentile-", "percentile-100.1", "percentile-1e2", "percentile--5", "kl", "Entropy"]
)
def test_what_is_no_calibrator_is_said(name: str) -> None:
    with pytest.raises(UsageError, match=f"no calibrator '{name}'; is it "):
        find_calibrator(name)


def test_near_names_are_said() -> None:
    with pytest.raises(UsageError, match="is it entropy"):
        find_calibrator("entrop")


@pytest.mark.parametrize(("low", "high"), [(2, 1), (np.nan, 1), (0, np.inf)])
def test_what_is_no_range_is_said(low: float, high: float) -> None:
    with pytest.raises(ValueError, match="is no range"):
        Range(low, high)
