"""Ranges by entropy, as TensorRT's calibrator has them.

S. Migacz, 8-bit Inference with TensorRT, GPU Technology Conference 2017, S7310.
"""

from __future__ import annotations

import numpy as np

from dsc.quantize.calibration.histogram import BINS, Histogram
from dsc.quantize.calibration.ranges import Range

LEVELS = 128
"""Of magnitudes, in 8 bits with a sign."""
_CANDIDATES = 256
"""Thresholds that are tried."""


def entropy(histogram: Histogram) -> Range:
    """The range whose quantized distribution tells most of the real one: the least divergence of Kullback and Leibler.

    It is [-t, t], as far as the tensor reaches on either side.
    """
    magnitudes, width = _magnitudes(histogram)
    if len(magnitudes) <= LEVELS:
        return Range(histogram.low, histogram.high)
    # Zeros (of ReLU, of padding) cost no quantizer anything: NVIDIA's pytorch-quantization counts them as neighbours.
    magnitudes[0] = magnitudes[1]
    tried = np.unique(np.linspace(len(magnitudes), LEVELS, _CANDIDATES).astype(int))
    divergences = [_divergence(magnitudes, kept) for kept in tried.tolist()]
    threshold = float(tried[int(np.argmin(divergences))]) * width
    return Range(max(histogram.low, -threshold), min(histogram.high, threshold))


def _magnitudes(histogram: Histogram) -> tuple[np.ndarray, float]:
    """Counts of absolute values from 0 on, as float64, and the width of their bins."""
    places = histogram.first + np.arange(len(histogram.counts))
    magnitudes = np.where(places < 0, -places - 1, places)
    shift = max(0, int(magnitudes.max() // BINS).bit_length())  # numbers far from 0 have very narrow bins
    counts = np.bincount(magnitudes >> shift, weights=histogram.counts)
    return counts, histogram.width * 2.0**shift


def _divergence(counts: np.ndarray, kept: int) -> float:
    """sum(P log(P / Q)) where the first `kept` bins are quantized to LEVELS, and what is beyond falls in the last.

    P: the bins with what is beyond. Q: the bins without it; all of a level, spread evenly over its bins that are not
    empty. Infinite where only P has anything in the last bin.
    """
    inside = counts[:kept]
    if not inside[-1]:
        return np.inf
    starts = np.arange(LEVELS) * kept // LEVELS
    occupied = inside > 0
    used = np.add.reduceat(occupied, starts, dtype=np.int64)
    spread = np.add.reduceat(inside, starts) / np.maximum(used, 1)
    quantized = np.repeat(spread, np.diff(starts, append=kept))[occupied]
    real = inside[occupied]
    real[-1] += counts[kept:].sum()
    p, q = real / real.sum(), quantized / quantized.sum()
    return float(np.sum(p * np.log(p / q)))
