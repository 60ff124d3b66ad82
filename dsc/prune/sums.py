"""What is known of a layer's inputs, in the pruned model, and of its outputs, in the float model: sums of products."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from dsc.prune.problem import Problem
from dsc.quantize.matrices import Matrices

_PLACES = 4096
"""Of a sample's outputs that are looked at, at random ones ..."""
_NUMBERS = 1 << 24
"""... and no more than make so many numbers."""


DEEPEST = 8192
"""Inputs whose products are summed: the first product behind an image may have 25,088, of which that takes 5 GB."""


def parts_of(depth: int, step: int) -> list[slice]:
    """The parts of a depth that are fitted apart, each to what it gives: one, or equal multiples of `step` inputs."""
    count = -(-depth // DEEPEST)
    size = step * -(-depth // (count * step))
    return [slice(start, min(start + size, depth)) for start in range(0, depth, size)]


class Sums:
    """x^T x and y^T x, and the sums of x and y, for each group of a layer; `count` rows of each.

    parts: of the depth, where y is what each part gives; all of it is one if None.

    Rows are summed as they differ from the means of the first ones: inputs that hardly vary about a large mean would
    otherwise leave nothing but roundings where means do not count, and no positive definite matrix.
    """

    def __init__(self, matrices: Matrices, weight: np.ndarray, parts: Sequence[slice] | None = None) -> None:
        self._matrices = matrices
        self._places = max(1, min(_PLACES, _NUMBERS // (matrices.groups * matrices.depth)))
        self._columns = matrices.columns(weight)
        groups, depth, width = self._columns.shape
        self._parts = parts or [slice(0, depth)]
        sizes = [part.stop - part.start for part in self._parts]
        self._inputs = [np.zeros((groups, size, size)) for size in sizes]
        self._outputs = [np.zeros((groups, width, size)) for size in sizes]
        self._row, self._results = np.zeros((groups, depth)), [np.zeros((groups, width)) for _ in sizes]
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
        for index, part in enumerate(self._parts):
            read, made = rows[:, :, part], wanted[:, :, part] @ self._columns[:, part]
            self._inputs[index] += read.transpose(0, 2, 1) @ read
            self._outputs[index] += made.transpose(0, 2, 1) @ read
            self._results[index] += made.sum(axis=1, dtype=np.float64)
        self._row += rows.sum(axis=1, dtype=np.float64)
        self.count += rows.shape[1]

    def problems(self, *, centered: bool, as_in_float: bool = False) -> list[Problem]:
        """One for each part of each group. centered: means do not count, as a bias makes them what they should be.
        as_in_float: the layer reads what it reads in the float model, so that the target is its weight, bit by bit.
        """
        of_parts = [self._problems(index, centered, as_in_float) for index in range(len(self._parts))]
        return [problem for of_group in zip(*of_parts, strict=True) for problem in of_group]

    def _problems(self, index: int, centered: bool, as_in_float: bool) -> list[Problem]:
        """Of a part, one for each group."""
        part = self._parts[index]
        row, result = self._row[:, part] / max(self.count, 1), self._results[index] / max(self.count, 1)
        inputs = self._inputs[index] - self.count * _outer(row, row)
        outputs = self._outputs[index] - self.count * _outer(result, row)
        if not centered:
            row, result = self._means(index)
            inputs, outputs = inputs + self.count * _outer(row, row), outputs + self.count * _outer(result, row)
        weights = self._columns[:, part].transpose(0, 2, 1)
        if as_in_float:
            return [Problem.as_in_float(*each) for each in zip(weights, inputs, strict=True)]
        return [Problem.of(*each) for each in zip(weights, inputs, outputs, strict=True)]

    def shift(self, matrices: list[np.ndarray]) -> np.ndarray:
        """What a bias has to add for the means of all outputs to be those of float, with these weights, by group."""
        turned = np.stack(matrices).astype(np.float64)
        rows, results = zip(*map(self._means, range(len(self._parts))), strict=True)
        row, result = np.concatenate(rows, axis=1), np.sum(results, axis=0)
        return np.asarray((result - np.einsum("gwd,gd->gw", turned, row)).reshape(-1))

    def _means(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Of x, [groups, depth], and of y, [groups, width], of a part."""
        part, count = self._parts[index], max(self.count, 1)
        origin, wanted = (each[:, part].astype(np.float64) for each in self._origins)
        level = np.einsum("gd,gdw->gw", wanted, self._columns[:, part])
        return self._row[:, part] / count + origin, self._results[index] / count + level


def _outer(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Of the vectors of each group."""
    return np.asarray(left[:, :, None] * right[:, None, :])
