"""How weights of few bits, and what belongs to their groups, are packed: in panels of as many columns as a tile has."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dsc.elements import computed
from dsc.targets.cpu.weight_only.problem import WORD
from dsc.targets.kernel import ArrayType


@dataclass(frozen=True)
class Words:
    """``[k, n]`` integers of `bits` bits to ``[n / columns, k / (32 / bits), columns]`` words.

    A word has neighbours of the depth, the first in its lowest bits, so that one shift for a vector of words gives a
    vector of a row. What is beyond `k` and `n` is 0.
    """

    columns: int
    bits: int

    def arrays(self, weight: ArrayType) -> tuple[ArrayType, ...]:
        """The panels."""
        k, n = weight.shape
        return (ArrayType((-(-n // self.columns), -(-k * self.bits // WORD), self.columns), "int32"),)

    def apply(self, array: np.ndarray) -> tuple[np.ndarray, ...]:
        """The packed copy."""
        in_a_word = WORD // self.bits
        low = computed(array).view(np.uint8) & np.uint8((1 << self.bits) - 1)
        padded = np.pad(low, [(0, -low.shape[0] % in_a_word), (0, -low.shape[1] % self.columns)])
        words = np.zeros((len(padded) // in_a_word, padded.shape[1]), np.uint32)
        for place in range(in_a_word):
            words |= padded[place::in_a_word].astype(np.uint32) << np.uint32(place * self.bits)
        return (_panels(words.view(np.int32), self.columns),)


@dataclass(frozen=True)
class OfGroups:
    """``[groups, n]`` scales or zero points to ``[n / columns, groups, columns]``, 0 beyond `n`."""

    columns: int
    dtype: str
    """In which kernels compute with them."""

    def arrays(self, parameters: ArrayType) -> tuple[ArrayType, ...]:
        """The panels."""
        groups, n = parameters.shape
        return (ArrayType((-(-n // self.columns), groups, self.columns), self.dtype),)

    def apply(self, array: np.ndarray) -> tuple[np.ndarray, ...]:
        """The packed copy."""
        return (_panels(np.pad(computed(array), [(0, 0), (0, -array.shape[1] % self.columns)]), self.columns),)


def _panels(rows: np.ndarray, columns: int) -> np.ndarray:
    return np.ascontiguousarray(rows.reshape(len(rows), -1, columns).swapaxes(0, 1))
