"""How far a tensor is from what it should be, summed up over samples."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from dsc.check.difference import differences


def decibels(signal: float, noise: float) -> float:
    """The signal-to-noise ratio, of sums of squares or of means: inf without noise, -inf with nothing but noise."""
    if noise <= 0:
        return math.inf
    if signal <= 0 or math.isinf(noise):
        return -math.inf
    return 10 * (math.log10(signal) - math.log10(noise))


@dataclass(frozen=True)
class Deviation:
    """How y differs from x, over all elements of all samples.

    snr: the signal-to-noise ratio in dB, 10 log10(sum(x^2) / sum((x - y)^2)), inf where nothing differs. max_abs: the
    largest |x - y|. cosine: of the angle between x and y, 1 where both are 0.
    """

    snr: float
    max_abs: float
    cosine: float


class Deviations:
    """Counts elements in. Equal infinities and NaN are no difference; where only one side is finite, it is infinite."""

    def __init__(self) -> None:
        self._signal = self._noise = self._product = self._other = self._largest = 0.0

    def add(self, expected: np.ndarray, actual: np.ndarray) -> None:
        """Count a pair of tensors of one shape in."""
        different = differences(expected, actual)
        x, y = (np.where(np.isfinite(array), array, 0).astype(np.float64).reshape(-1) for array in (expected, actual))
        self._largest = max(self._largest, float(different.max(initial=0.0)))
        self._noise += float(np.square(different).sum())
        self._signal += float(x @ x)
        self._other += float(y @ y)
        self._product += float(x @ y)

    def result(self) -> Deviation:
        """What has been counted."""
        scale = math.sqrt(self._signal) * math.sqrt(self._other)
        cosine = min(1.0, max(-1.0, self._product / scale)) if scale else float(self._signal == self._other)
        return Deviation(decibels(self._signal, self._noise), self._largest, cosine)
