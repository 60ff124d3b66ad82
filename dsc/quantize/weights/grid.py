"""The integers that a weight is rounded to, and a weight that was."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import ml_dtypes
import numpy as np

_TYPES: dict[tuple[int, bool], np.dtype[np.generic]] = {
    (4, True): np.dtype(ml_dtypes.int4),
    (4, False): np.dtype(ml_dtypes.uint4),
    (8, True): np.dtype(np.int8),
    (8, False): np.dtype(np.uint8),
}
WIDTHS = (4, 8)
"""Bits of an integer that there are types for."""


@dataclass(frozen=True)
class Grid:
    """Integers of `bits` bits: around 0 (`symmetric`), or from 0 on with a zero point for each group."""

    bits: int
    symmetric: bool

    @property
    def least(self) -> int:
        """The smallest."""
        return -(1 << (self.bits - 1)) if self.symmetric else 0

    @property
    def largest(self) -> int:
        """The largest."""
        return self.least + (1 << self.bits) - 1

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """The type that has just these."""
        return _TYPES[self.bits, self.symmetric]

    def nearest(self, values: np.ndarray, scales: np.ndarray, zeros: np.ndarray) -> np.ndarray:
        """The integers, as floats, nearest to `values` ([.., n]) where those have `scales` and `zeros` ([n])."""
        found: np.ndarray = np.clip(np.rint(values / scales) + zeros, self.least, self.largest)
        return found


@dataclass(frozen=True, eq=False)
class Rounded:
    """A weight ``[k, n]`` by groups of its depth: ``scales[k // size] * (integers - zeros[k // size])``."""

    integers: np.ndarray
    """[k, n], of the grid's type."""
    scales: np.ndarray
    """[groups, n], float32."""
    zeros: np.ndarray | None
    """[groups, n], of the grid's type; None for a symmetric grid."""
    size: int
    """Of a group; the last may be smaller."""

    def floats(self) -> np.ndarray:
        """What the integers stand for, in float32, as DequantizeLinear has it."""
        integers = self.integers.astype(np.float32)
        for group, rows in enumerate(groups_of(len(integers), self.size)):
            if self.zeros is not None:
                integers[rows] -= self.zeros[group].astype(np.float32)
            integers[rows] *= self.scales[group]
        return integers


def groups_of(depth: int, size: int) -> Iterator[slice]:
    """The rows of each group."""
    for first in range(0, depth, size):
        yield slice(first, min(first + size, depth))


def collected(grid: Grid, integers: np.ndarray, scales: np.ndarray, zeros: np.ndarray, size: int) -> Rounded:
    """A rounded weight of arrays of floats."""
    kept = None if grid.symmetric else zeros.astype(np.int16).astype(grid.dtype)
    return Rounded(integers.astype(np.int16).astype(grid.dtype), scales.astype(np.float32), kept, size)
