"""How a sparse weight is stored: entries of a few outputs that share an input, in the order in which they are read."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from dsc.ir import SparseAttr
from dsc.sparsity import Pattern, matrix_of
from dsc.targets.kernel import ArrayType

OUTPUTS = 4
"""Of an entry at most: of more, nothing is gained, as FACTS of plain kernels show."""


@dataclass(frozen=True)
class Entries:
    """A weight to ``starts [groups + 1]``, ``offsets [capacity]`` and ``values [capacity, outputs]``.

    Outputs come in groups of `outputs`, which fill panels; those beyond the last are of zeros, and have no entries.
    The entries of a group lie side by side, by input; an offset tells where the input is in the scratch that holds
    them: that of input ``c * taps + t`` is ``c * step + taps[t]``.
    """

    outputs: int
    """Of an entry, and of a group."""
    panel: int
    """Outputs of a panel."""
    axis: int
    """Of the weight's outputs."""
    capacity: int
    """Entries there is room for: layers of nearly the same density share code."""
    step: int
    taps: tuple[int, ...]

    def arrays(self, weight: ArrayType) -> tuple[ArrayType, ...]:
        """The starts, the offsets and the values."""
        return (
            ArrayType((self._groups(weight.shape) + 1,), "int32"),
            ArrayType((self.capacity,), "int32"),
            ArrayType((self.capacity, self.outputs), weight.dtype),
        )

    def apply(self, array: np.ndarray) -> tuple[np.ndarray, ...]:
        """The packed copies; raises ValueError for a weight that has more entries than its type says."""
        matrix = matrix_of(array, self.axis)
        groups, depth = self._groups(array.shape), matrix.shape[1]
        padded = np.zeros((groups * self.outputs, depth), array.dtype)
        padded[: len(matrix)] = matrix
        grouped = padded.reshape(groups, self.outputs, depth).transpose(0, 2, 1)
        group, place = np.nonzero((grouped != 0).any(axis=2))
        if len(group) > self.capacity:
            raise ValueError(f"{len(group)} entries, where there is room for {self.capacity}")
        starts = np.zeros(groups + 1, np.int32)
        starts[1:] = np.cumsum(np.bincount(group, minlength=groups))
        offsets = np.zeros(self.capacity, np.int32)
        channel, tap = np.divmod(place, len(self.taps))
        offsets[: len(group)] = channel * self.step + np.asarray(self.taps)[tap]
        values = np.zeros((self.capacity, self.outputs), array.dtype)
        values[: len(group)] = grouped[group, place]
        return starts, offsets, values

    def _groups(self, shape: tuple[int, ...]) -> int:
        return math.ceil(shape[self.axis] / self.panel) * (self.panel // self.outputs)


def outputs_of(pattern: Pattern, lanes: int) -> int:
    """Outputs of an entry: as many of a block's as share what is loaded."""
    return math.gcd(pattern.outputs, OUTPUTS, lanes)


def entries_of(encoding: SparseAttr, outputs: int, shape: tuple[int, ...]) -> int:
    """The most entries of so many outputs that a weight of that type has; one at least."""
    pattern = Pattern.parse(encoding.pattern.data)
    rows = shape[encoding.axis.data]
    depth = math.prod(shape) // rows
    blocks = math.ceil(rows / pattern.outputs) * math.ceil(depth / pattern.depth)
    occupied = math.floor(encoding.density * blocks)
    return max(1, occupied * (pattern.outputs // outputs) * pattern.depth)
