"""How a sparse weight is stored: entries of a few outputs that share an input, or neighbouring ones, in the order in
which they are read."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from dsc.ir import SparseAttr
from dsc.sparsity import Pattern, matrix_of
from dsc.targets.kernel import ArrayType


@dataclass(frozen=True)
class Entries:
    """A weight to ``starts [groups + 1]``, ``offsets [steps, k / depth]`` and ``values [steps, outputs * k]``.

    Outputs come in groups of `outputs`, which fill panels; those beyond the last are of zeros, and have no entries.
    The entries of a group lie side by side, by input, and those with `k` inputs are a step: what an instruction
    multiplies at once for an output is side by side. A last step is filled up with zeros. An offset tells where the
    inputs of an entry are in the scratch that holds them: input ``c * len(taps) + t``, or `depth` of them from
    ``c * depth`` on where there is one tap, at ``c * step + taps[t]``.
    """

    outputs: int
    """Of an entry, and of a group."""
    panel: int
    """Outputs of a panel."""
    axis: int
    """Of the weight's outputs."""
    steps: int
    """That there is room for: layers of nearly the same density share code."""
    step: int
    taps: tuple[int, ...]
    k: int = 1
    depth: int = 1
    """Inputs of an entry: neighbours, one or `k`. Where they do not divide the weight's, zeros are put at the end."""
    sums: bool = False
    """Whether the sum of all weights of each output comes as a last array, in int32."""

    def arrays(self, weight: ArrayType) -> tuple[ArrayType, ...]:
        """The starts, the offsets, the values, and the sums."""
        return (
            ArrayType((self._groups(weight.shape) + 1,), "int32"),
            ArrayType((self.steps, self.k // self.depth), "int32"),
            ArrayType((self.steps, self.outputs * self.k), weight.dtype),
            *([ArrayType((weight.shape[self.axis],), "int32")] if self.sums else []),
        )

    def apply(self, array: np.ndarray) -> tuple[np.ndarray, ...]:
        """The packed copies; raises ValueError for a weight that has more entries than its type says."""
        matrix = matrix_of(array, self.axis)
        groups, places = self._groups(array.shape), math.ceil(matrix.shape[1] / self.depth)
        padded = np.zeros((groups * self.outputs, places * self.depth), array.dtype)
        padded[: len(matrix), : matrix.shape[1]] = matrix
        grouped = padded.reshape(groups, self.outputs, places, self.depth).transpose(0, 2, 1, 3)
        group, place = np.nonzero((grouped != 0).any(axis=(2, 3)))
        counts, of_step = np.bincount(group, minlength=groups), self.k // self.depth
        starts = np.zeros(groups + 1, np.int32)
        starts[1:] = np.cumsum(-(-counts // of_step))
        if starts[-1] > self.steps:
            raise ValueError(f"{starts[-1]} steps, where there is room for {self.steps}")
        within = np.arange(len(group)) - (np.cumsum(counts) - counts)[group]
        step, slot = starts[group] + within // of_step, within % of_step
        channel, tap = np.divmod(place, len(self.taps))
        offsets = np.zeros((self.steps, of_step), np.int32)
        offsets[step, slot] = channel * self.step + np.asarray(self.taps)[tap]
        values = np.zeros((self.steps, self.outputs, of_step, self.depth), array.dtype)
        values[step, :, slot] = grouped[group, place]
        sums = [matrix.sum(axis=1, dtype=np.int32)] if self.sums else []
        return (starts, offsets, values.reshape(self.steps, -1), *sums)

    def _groups(self, shape: tuple[int, ...]) -> int:
        return math.ceil(shape[self.axis] / self.panel) * (self.panel // self.outputs)


def steps_of(encoding: SparseAttr, outputs: int, shape: tuple[int, ...], k: int = 1, depth: int = 1) -> int:
    """The most steps of `k` inputs, in entries of `outputs` by `depth`, that a weight of that type has; one at least.

    depth: divides that of the pattern's blocks.
    """
    pattern = Pattern.parse(encoding.pattern.data)
    rows = shape[encoding.axis.data]
    blocks = math.ceil(rows / pattern.outputs) * math.ceil(math.prod(shape) // rows / pattern.depth)
    occupied = math.floor(encoding.density * blocks)
    entries, of_step = occupied * (pattern.outputs // outputs) * (pattern.depth // depth), k // depth
    filled = math.ceil(rows / outputs) * (of_step - 1)  # each group may have a last step of one entry
    return max(1, math.ceil((entries + filled) / of_step))
