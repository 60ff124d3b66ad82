"""How a weight is stored of which two of each four neighbouring inputs are kept."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dsc.targets.gpu.sparse.packing import View, is_weight
from dsc.targets.gpu.structured.instruction import WORDS, MmaSparse
from dsc.targets.kernel import ArrayType

OUTPUTS, LANES, FOUR, KEPT = 16, 32, 4, 2


@dataclass(frozen=True)
class TwoOfFour:
    """A weight to ``values [pieces + 1, ...]``, ``metadata [pieces + 1, 32]``, and maybe ``sums [outputs]``.

    A piece is what the instructions that share metadata multiply: 16 outputs by a depth of 64, of which 32 are there,
    as lanes have them in registers, of one instruction after the other. Pieces of a group of outputs lie side by side.
    One more lies behind the last: kernels load ahead.
    """

    view: View
    by: MmaSparse
    groups: int
    """Of outputs; those beyond the last are of zeros."""
    pieces: int
    """Of a group."""
    summed: bool = False
    """Whether what the weights of each output add up to is stored as well."""

    def arrays(self, weight: ArrayType) -> tuple[ArrayType, ...]:
        """The values, the metadata, and maybe the sums."""
        count = self.groups * self.pieces + 1
        values = ArrayType((count, LANES * self.by.pair * WORDS * self.by.per_word), weight.dtype)
        found = values, ArrayType((count, LANES), "int32")
        return (*found, ArrayType((self.groups * OUTPUTS,), "int32")) if self.summed else found

    def apply(self, array: np.ndarray) -> tuple[np.ndarray, ...]:
        """The packed copies; raises ValueError for a weight that has more than two of any four."""
        matrix, by = self.view.of(array), self.by
        padded = np.zeros((self.groups * OUTPUTS, self.pieces * by.deep), array.dtype)
        padded[: matrix.shape[0], : matrix.shape[1]] = matrix
        fours = padded.reshape(self.groups, OUTPUTS, self.pieces, by.pair, by.depth // FOUR, FOUR)
        there = is_weight(fours)
        if there.sum(axis=-1).max() > KEPT:
            raise ValueError("more than two of four neighbouring inputs are kept")
        places = np.sort(np.argsort(~there, axis=-1, kind="stable")[..., :KEPT], axis=-1)
        by_row = np.r_[0:OUTPUTS:2, 1:OUTPUTS:2]  # row g is output 2 g, and row g + 8 the next one
        stored = np.take_along_axis(fours, places, axis=-1)[:, by_row].reshape(*fours.shape[:4], -1)
        bits = self._metadata(places[:, by_row])
        found = self._behind(self._by_lane(stored)), self._behind(bits.view(np.int32))
        return (*found, padded.sum(axis=1, dtype=np.int32)) if self.summed else found

    def _by_lane(self, stored: np.ndarray) -> np.ndarray:
        """``[groups, rows, pieces, pair, depth / 2]`` to ``[groups * pieces, ...]``: registers as those of a dense
        operand."""
        groups, _, pieces = stored.shape[:3]
        # row = half * 8 + g, column = (right * 4 + t) * per_word + i
        split = stored.reshape(groups, 2, 8, pieces, self.by.pair, 2, 4, self.by.per_word)
        lanes = split.transpose(0, 3, 4, 2, 6, 5, 1, 7)  # group, piece, which, g, t, right, half, i
        return lanes.reshape(groups * pieces, -1)

    def _metadata(self, places: np.ndarray) -> np.ndarray:
        """``[groups, rows, pieces, pair, ...]`` to ``[groups * pieces, 32]``."""
        groups, _, pieces = places.shape[:3]
        count = 16 // self.by.pair  # elements of a row in a word
        words = places.reshape(groups, 2, 8, pieces, self.by.pair, 2, count).astype(np.uint32)
        bits = (words << (2 * np.arange(count, dtype=np.uint32))).sum(axis=-1, dtype=np.uint32)
        if self.by.pair == 1:
            lanes = bits[..., 0, :].transpose(0, 3, 2, 4, 1)  # group, piece, g, part, half
        else:
            both = bits[:, 0] | bits[:, 1] << np.uint32(16)
            lanes = both.transpose(0, 2, 1, 3, 4)  # group, piece, g, which, part
        return np.ascontiguousarray(lanes).reshape(groups * pieces, LANES)

    def _behind(self, found: np.ndarray) -> np.ndarray:
        """With a piece of zeros behind the last."""
        return np.concatenate([found, np.zeros_like(found[:1])])
