"""Ranges that leave out a given share of the numbers."""

from __future__ import annotations

import numpy as np

from dsc.quantize.calibration.histogram import Histogram
from dsc.quantize.calibration.ranges import Range


def percentile(histogram: Histogram, percent: float) -> Range:
    """The range of the middle `percent` of the numbers: half of the others is below it, half above.

    Within a bin numbers are taken to be spread evenly.
    """
    edges = np.clip(histogram.edges, histogram.low, histogram.high)
    below = np.concatenate([[0], np.cumsum(histogram.counts)]) / histogram.counts.sum()
    tail = (100 - percent) / 200
    low, high = np.interp([tail, 1 - tail], below, edges).tolist()
    return Range(low, high)
