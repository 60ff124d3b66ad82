"""Indices of dims that stay or go together, as disjoint sets."""

from __future__ import annotations

import numpy as np


class Partition:
    """Atoms are whole numbers. Two that were joined are in one set, and a set is known by the least atom in it.

    Joins are collected and done for whole arrays at once, when somebody asks. (Hooking and pointer jumping, as in
    Shiloach and Vishkin, An O(log n) Parallel Connectivity Algorithm, 1982.)
    """

    def __init__(self) -> None:
        self._sets = np.zeros(0, np.int64)
        self._count = 0
        self._waiting: list[tuple[np.ndarray, np.ndarray]] = []

    def fresh(self, count: int) -> np.ndarray:
        """So many new atoms, each in a set of its own."""
        self._count += count
        return np.arange(self._count - count, self._count)

    def join(self, some: np.ndarray, others: np.ndarray) -> None:
        """Put atoms into the sets of others, one by one; shapes are broadcast."""
        pairs = np.broadcast_arrays(some, others)
        self._waiting.append((pairs[0].reshape(-1), pairs[1].reshape(-1)))

    @property
    def sets(self) -> np.ndarray:
        """The set of each atom."""
        self._sets = np.concatenate([self._sets, np.arange(len(self._sets), self._count)])
        if self._waiting:
            some, others = (np.concatenate([pair[side] for pair in self._waiting]) for side in (0, 1))
            self._waiting = []
            while True:
                ends = self._sets[some], self._sets[others]
                apart = ends[0] != ends[1]
                if not apart.any():
                    break
                low, high = np.minimum(*ends)[apart], np.maximum(*ends)[apart]
                np.minimum.at(self._sets, high, low)
                self._compress()
        return self._sets

    def _compress(self) -> None:
        while True:
            ahead = self._sets[self._sets]
            if np.array_equal(ahead, self._sets):
                return
            self._sets = ahead
