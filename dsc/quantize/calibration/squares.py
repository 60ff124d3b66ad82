"""Ranges that make the quantizer's error least."""

from __future__ import annotations

import numpy as np

from dsc.quantize.calibration.histogram import Histogram
from dsc.quantize.calibration.ranges import Range

STEPS = 255
"""From the least to the greatest number of 8 bits."""
_FACTORS = np.concatenate([np.linspace(1, 0.5, 50, endpoint=False), np.geomspace(0.5, 0.01, 40)])
"""Of the extremes: how far they are drawn in."""


def mean_square(histogram: Histogram) -> Range:
    """The range for which an 8-bit affine quantizer has the least mean squared error, of rounding and of clipping.

    What is in a bin is taken to be in its middle. Both ends are drawn in by one factor first, then each by itself.
    """
    counted = histogram.counts > 0
    centers, counts = histogram.centers[counted], histogram.counts[counted]
    ends = np.array([min(histogram.low, 0.0), max(histogram.high, 0.0)])
    drawn_in = ends * _FACTORS[:, None]
    best = _best(centers, counts, drawn_in)
    for end in (1, 0):
        tried = np.tile(best, (len(_FACTORS), 1))
        tried[:, end] = drawn_in[:, end]
        best = _best(centers, counts, tried)
    low, high = best.tolist()
    return Range(max(low, min(histogram.low, high)), min(high, histogram.high))


def _best(centers: np.ndarray, counts: np.ndarray, ranges: np.ndarray) -> np.ndarray:
    """Of ranges, shape (n, 2), the one with the least error on numbers that stand so often at these places."""
    best: np.ndarray = ranges[int(np.argmin([_error(centers, counts, low, high) for low, high in ranges.tolist()]))]
    return best


def _error(centers: np.ndarray, counts: np.ndarray, low: float, high: float) -> float:
    """The sum of squared errors. 0 is a number of the quantizer."""
    step = (high - low) / STEPS
    if not step:
        return float(np.square(centers) @ counts)
    zero = round(-low / step)
    rounded = np.rint(centers / step)
    np.clip(rounded, -zero, STEPS - zero, out=rounded)
    return float(np.square(rounded * step - centers) @ counts)
