"""What is known of a layer's inputs, in the pruned model, and of its outputs, in the float model: sums of products."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from dsc.prune.problem import Problem
from dsc.quantize.matrices import Matrices

_PLACES = 4096
"""Of a sample's outputs that are looked at, at random ones ..."""
_NUMBERS = 1 << 24
"""... and no more than make so many numbers."""


class Sums:
    """x^T x and y^T x, and the sums of x and y, for each group of a layer; `count` rows of each.

    Rows are summed as they differ from the means of the first ones: inputs that hardly vary about a large mean would
    otherwise leave nothing but roundings where means do not count, and no positive definite matrix.
    """

    def __init__(self, matrices: Matrices, weight: np.ndarray) -> None:
        self._matrices = matrices
        self._places = max(1, min(_PLACES, _NUMBERS // (matrices.groups * matrices.depth)))
        self._columns = matrices.columns(weight)
        groups, depth, width = self._columns.shape
        self._inputs, self._outputs = np.zeros((groups, depth, depth)), np.zeros((groups, width, depth))
        self._row, self._result = np.zeros((groups, depth)), np.zeros((groups, width))
        self._origins = [np.zeros((groups, depth), np.float32) for _ in range(2)]
        self.count = 0

    def add(self, pairs: Iterable[tuple[np.ndarray, np.ndarray]]) -> None:
        """Count in what the layer reads of some samples, in the float model and in the pruned one."""
        waiting: list[tuple[np.ndarray, np.ndarray]] = []
        for index, (in_float, pruned) in enumerate(pairs):
            # the same places of both
            rows, wanted = (
                self._matrices.rows(array, self._places, np.random.default_rng(index)) for array in (pruned, in_float)
            )
            waiting.append((rows, wanted))
            if sum(some.shape[1] for some, _ in waiting) >= self._places:
                self._sum_up(waiting)
                waiting = []
        if any(rows.size for rows, _ in waiting):
            self._sum_up(waiting)

    def _sum_up(self, waiting: list[tuple[np.ndarray, np.ndarray]]) -> None:
        """One product for the rows of several samples."""
        rows, wanted = (np.concatenate([pair[side] for pair in waiting], axis=1) for side in (0, 1))
        if self.count == 0:  # as float32, which constants are told from exactly
            self._origins = [each.mean(axis=1, dtype=np.float64).astype(np.float32) for each in (rows, wanted)]
        rows, wanted = (each - mean[:, None] for each, mean in zip((rows, wanted), self._origins, strict=True))
        made = wanted @ self._columns
        self._inputs += rows.transpose(0, 2, 1) @ rows
        self._outputs += made.transpose(0, 2, 1) @ rows
        self._row += rows.sum(axis=1, dtype=np.float64)
        self._result += made.sum(axis=1, dtype=np.float64)
        self.count += rows.shape[1]

    def problems(self, *, centered: bool, as_in_float: bool = False) -> list[Problem]:
        """One for each group. centered: means do not count, as a bias makes them what they should be. as_in_float: the
        layer reads what it reads in the float model, so that the target is its weight, bit by bit.
        """
        row, result = self._row / max(self.count, 1), self._result / max(self.count, 1)
        inputs = self._inputs - self.count * _outer(row, row)
        outputs = self._outputs - self.count * _outer(result, row)
        if not centered:
            row, result = self._means()
            inputs, outputs = inputs + self.count * _outer(row, row), outputs + self.count * _outer(result, row)
        weights = self._columns.transpose(0, 2, 1)
        if as_in_float:
            return [Problem.as_in_float(*parts) for parts in zip(weights, inputs, strict=True)]
        return [Problem.of(*parts) for parts in zip(weights, inputs, outputs, strict=True)]

    def shift(self, matrices: list[np.ndarray]) -> np.ndarray:
        """What a bias has to add for the means of all outputs to be those of float, with these weights, by group."""
        turned = np.stack(matrices).astype(np.float64)
        row, result = self._means()
        return np.asarray((result - np.einsum("gwd,gd->gw", turned, row)).reshape(-1))

    def _means(self) -> tuple[np.ndarray, np.ndarray]:
        """Of x, [groups, depth], and of y, [groups, width]."""
        origin, level = self._origins[0], np.einsum("gd,gdw->gw", self._origins[1].astype(np.float64), self._columns)
        return self._row / max(self.count, 1) + origin, self._result / max(self.count, 1) + level


def _outer(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Of the vectors of each group."""
    return np.asarray(left[:, :, None] * right[:, None, :])
