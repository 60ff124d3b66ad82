"""How a weight is stored of which two of each four neighbouring inputs are kept."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dsc.targets.gpu.sparse.packing import View, is_weight
from dsc.targets.gpu.structured.instruction import DEPTH, PAIR, WORDS
from dsc.targets.kernel import ArrayType

OUTPUTS, LANES, FOUR, KEPT = 16, 32, 4, 2


@dataclass(frozen=True)
class TwoOfFour:
    """A weight to ``values [pieces + 1, 512]`` and ``metadata [pieces + 1, 32]``.

    A piece is what a pair of instructions multiplies: 16 outputs by a depth of 64, of which 32 are there, as lanes have
    them in registers, of one instruction after the other. Pieces of a group of outputs lie side by side. One more lies
    behind the last: kernels load ahead.
    """

    view: View
    groups: int
    """Of outputs; those beyond the last are of zeros."""
    pieces: int
    """Of a group."""

    def arrays(self, weight: ArrayType) -> tuple[ArrayType, ...]:
        """The values, the metadata."""
        count = self.groups * self.pieces + 1
        return ArrayType((count, LANES * PAIR * WORDS * 2), weight.dtype), ArrayType((count, LANES), "int32")

    def apply(self, array: np.ndarray) -> tuple[np.ndarray, ...]:
        """The packed copies; raises ValueError for a weight that has more than two of any four."""
        matrix = self.view.of(array)
        padded = np.zeros((self.groups * OUTPUTS, self.pieces * PAIR * DEPTH), array.dtype)
        padded[: matrix.shape[0], : matrix.shape[1]] = matrix
        fours = padded.reshape(self.groups, OUTPUTS, self.pieces, PAIR, DEPTH // FOUR, FOUR)
        there = is_weight(fours)
        if there.sum(axis=-1).max() > KEPT:
            raise ValueError("more than two of four neighbouring inputs are kept")
        places = np.sort(np.argsort(~there, axis=-1, kind="stable")[..., :KEPT], axis=-1)
        by_row = np.r_[0:OUTPUTS:2, 1:OUTPUTS:2]  # row g is output 2 g, and row g + 8 the next one
        stored = np.take_along_axis(fours, places, axis=-1)[:, by_row].reshape(*fours.shape[:4], -1)
        bits = self._metadata(places[:, by_row])
        return self._behind(self._by_lane(stored)), self._behind(bits.view(np.int32))

    def _by_lane(self, stored: np.ndarray) -> np.ndarray:
        """``[groups, rows, pieces, 2, 16]`` to ``[groups * pieces, 512]``: registers as those of a dense operand."""
        groups, _, pieces = stored.shape[:3]
        # row = half * 8 + g, column = right * 8 + t * 2 + i
        split = stored.reshape(groups, 2, 8, pieces, PAIR, 2, 4, 2)
        lanes = split.transpose(0, 3, 4, 2, 6, 5, 1, 7)  # group, piece, which, g, t, right, half, i
        return lanes.reshape(groups * pieces, -1)

    def _metadata(self, places: np.ndarray) -> np.ndarray:
        """``[groups, rows, pieces, 2, 8, 2]`` to ``[groups * pieces, 32]``."""
        groups, _, pieces = places.shape[:3]
        words = places.reshape(groups, OUTPUTS, pieces, PAIR, 2, 8).astype(np.uint32)
        bits = (words << (2 * np.arange(8, dtype=np.uint32))).sum(axis=-1, dtype=np.uint32)
        upper, lower = bits[:, 8:], bits[:, :8]
        both = lower | upper << np.uint32(16)  # [groups, g, pieces, which, part]
        return np.ascontiguousarray(both.transpose(0, 2, 1, 3, 4)).reshape(groups * pieces, LANES)

    def _behind(self, found: np.ndarray) -> np.ndarray:
        """With a piece of zeros behind the last."""
        return np.concatenate([found, np.zeros_like(found[:1])])
