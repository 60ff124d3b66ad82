"""How often numbers of a tensor fall where, without keeping them."""

from __future__ import annotations

import math

import numpy as np

from dsc.quantize.calibration.statistics import Values

BINS = 4096
"""At most; at least half as many, but where all numbers are (nearly) the same."""
_DIGITS = 24
"""Bins are no finer than this many binary digits of the largest number: what float32 tells apart."""
_FINEST = -100
"""Binary exponent of the narrowest bin: what is smaller is 0 here."""
_CHUNK = 1 << 15
"""Elements that are counted at once: their indices stay in a cache."""


class Histogram:
    """Counts of equal bins, as wide as a power of two, with edges at multiples of that width.

    A number outside of the bins makes them twice as wide, until all fit: two neighbours become one, and no count is
    guessed. The width follows from the extremes alone, so the histogram is the same, count for count, in whatever
    order samples come, as if it were made of all at once.

    low, high: the extremes, exactly. counts: int64, of bins that cover them: bin i is numbers from
    (first + i) * width to below (first + i + 1) * width.
    """

    def __init__(self) -> None:
        self.low, self.high = np.inf, -np.inf
        self.counts = np.zeros(0, np.int64)
        self.first = 0
        self._exponent = _FINEST

    @property
    def width(self) -> float:
        """Of a bin."""
        return 2.0**self._exponent

    @property
    def edges(self) -> np.ndarray:
        """Where bins begin, and where the last one ends: float64, one more than there are bins."""
        return (self.first + np.arange(len(self.counts) + 1)) * self.width

    @property
    def centers(self) -> np.ndarray:
        """The middle of each bin, float64; of the outer ones, of what the extremes leave of them."""
        inside = np.clip(self.edges, self.low, self.high)
        middle: np.ndarray = (inside[1:] + inside[:-1]) / 2
        return middle

    def add(self, values: Values) -> None:
        self._cover(min(self.low, values.low), max(self.high, values.high))
        numbers = values.numbers
        for start in range(0, numbers.size, _CHUNK):
            indices = self._places(numbers[start : start + _CHUNK]).astype(np.intp)
            self.counts += np.bincount(indices, minlength=len(self.counts))

    def _places(self, numbers: np.ndarray) -> np.ndarray:
        """The bin of each number, as a float: powers of two and whole numbers of few digits leave nothing to round."""
        places: np.ndarray = numbers * numbers.dtype.type(2.0**-self._exponent)
        np.floor(places, out=places)
        places -= self.first
        return places

    def _cover(self, low: float, high: float) -> None:
        """Make bins for a range that holds the one before."""
        if (low, high) == (self.low, self.high):
            return
        exponent = self._exponent_of(low, high)
        first, last = (math.floor(math.ldexp(x, -exponent)) for x in (low, high))
        counts = np.zeros(last - first + 1, np.int64)
        if self.counts.size:
            places = (self.first + np.arange(len(self.counts))) >> min(exponent - self._exponent, 62)
            np.add.at(counts, places - first, self.counts)
        self.low, self.high = low, high
        self.counts, self.first, self._exponent = counts, first, exponent

    def _exponent_of(self, low: float, high: float) -> int:
        """The least at which bins suffice, and no less than before."""
        exponent = max(_FINEST, math.frexp(max(abs(low), abs(high)))[1] - _DIGITS, self._exponent)
        while math.floor(math.ldexp(high, -exponent)) - math.floor(math.ldexp(low, -exponent)) >= BINS:
            exponent += 1
        return exponent
