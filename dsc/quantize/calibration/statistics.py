"""What is kept of a tensor over all samples: its size does not grow with their number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from dsc.errors import UsageError


@dataclass(frozen=True)
class Values:
    """A tensor of one feed, float32 or float64, and its extremes; infinities are left out of these.

    finite: whether there are no infinities. There is at least one finite number, and no NaN.
    """

    array: np.ndarray
    low: float
    high: float
    finite: bool = True

    @property
    def numbers(self) -> np.ndarray:
        """The finite numbers, in one dim."""
        flat = self.array.reshape(-1)
        return flat if self.finite else flat[np.isfinite(flat)]

    @property
    def without_infinities(self) -> np.ndarray:
        """The tensor, 0 where it is infinite."""
        return self.array if self.finite else np.where(np.isfinite(self.array), self.array, 0)


class Statistic(Protocol):
    """Something to keep of a tensor."""

    def add(self, values: Values) -> None:
        """Count one feed's tensor in. Nothing of `values.array` may be kept: the memory is used again."""
        ...


class Extremes:
    """The least and the greatest number."""

    def __init__(self) -> None:
        self.low, self.high = np.inf, -np.inf

    def add(self, values: Values) -> None:
        self.low, self.high = min(self.low, values.low), max(self.high, values.high)


class MovingExtremes:
    """Averages of each feed's least and greatest number: the mean of the first 100, then an exponential one.

    With x the extreme of feed n, counted from 1: m += (x - m) * max(1/n, 0.01). The exponential average is that of
    PyTorch's MovingAverageMinMaxObserver, whose first values count for more the fewer feeds there are.
    """

    _WEIGHT = 0.01

    def __init__(self) -> None:
        self.low = self.high = 0.0
        self._count = 0

    def add(self, values: Values) -> None:
        self._count += 1
        weight = max(1 / self._count, self._WEIGHT)
        self.low += (values.low - self.low) * weight
        self.high += (values.high - self.high) * weight


class ChannelMaxima:
    """The greatest absolute value in each channel of an axis, which counts from the end where it is negative.

    maxima: float64 of shape (channels,).
    """

    def __init__(self, axis: int) -> None:
        self._axis = axis
        self.maxima = np.zeros(0)

    def add(self, values: Values) -> None:
        array, rank = values.array, values.array.ndim
        if not -rank <= self._axis < rank:
            raise UsageError(f"axis {self._axis} is asked for of a tensor of {rank} dims")
        others = tuple(axis for axis in range(rank) if axis != self._axis % rank)
        finite = True if values.finite else np.isfinite(array)
        high = array.max(axis=others, where=finite, initial=0.0)
        low = array.min(axis=others, where=finite, initial=0.0)
        found = np.maximum(high, -low).astype(np.float64)
        if self.maxima.size and self.maxima.shape != found.shape:
            raise UsageError(
                f"axis {self._axis} has {self.maxima.size} channels in one sample, {found.size} in another"
            )
        self.maxima = np.maximum(self.maxima, found) if self.maxima.size else found
