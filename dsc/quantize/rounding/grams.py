"""What is known of a layer's inputs and outputs: sums of products over places of samples, as many as fit in memory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dsc.quantize.calibration import Values
from dsc.quantize.grid import Grid
from dsc.quantize.matrices import Matrices


@dataclass(frozen=True)
class Gram:
    """With x the rows that a layer is given in bytes and y its outputs in float, both less their means if these do not
    count: `inputs` is x^T x, [groups, depth, depth], and `outputs` x^T y, [groups, depth, width].
    """

    inputs: np.ndarray
    outputs: np.ndarray


class GramSums:
    """Sums up what `Gram` is made of, in float64."""

    def __init__(self, matrices: Matrices, weight: np.ndarray, data: Grid, places: int) -> None:
        """places: how many of a sample are looked at, of images at random ones."""
        self._matrices, self._data, self._places = matrices, data, places
        self._columns = matrices.columns(weight)
        groups, depth, width = self._columns.shape
        self._inputs, self._outputs = np.zeros((groups, depth, depth)), np.zeros((groups, depth, width))
        self._row, self._result = np.zeros((groups, depth, 1)), np.zeros((groups, 1, width))
        self._count = 0
        self._random = np.random.default_rng(0)

    def add(self, values: Values) -> None:
        rows = self._matrices.rows(values.without_infinities, self._places, self._random)
        given = self._data.dequantized(self._data.quantized(rows))
        turned, made = given.transpose(0, 2, 1), rows @ self._columns
        self._inputs += turned @ given
        self._outputs += turned @ made
        self._row += turned.sum(axis=2, keepdims=True, dtype=np.float64)
        self._result += made.sum(axis=1, keepdims=True, dtype=np.float64)
        self._count += rows.shape[1]

    def gram(self, *, centered: bool) -> Gram:
        """centered: means do not count, as a bias makes them what they should be."""
        if not centered or not self._count:
            return Gram(self._inputs, self._outputs)
        means = self._row / self._count
        return Gram(self._inputs - means * self._row.transpose(0, 2, 1), self._outputs - means * self._result)
