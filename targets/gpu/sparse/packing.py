"""How a sparse weight is stored for GPUs: dense fragments of the inputs that each group of outputs keeps, step by step
of the depth."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from dsc.ir import SparseAttr
from dsc.sparsity import Pattern
from dsc.targets.kernel import ArrayType

MAGNITUDE = 0x7FFF
"""Of a bfloat16 in its bits, without the sign."""


def is_weight(values: np.ndarray) -> np.ndarray:
    """Which are not 0, of whatever sign: of bfloat16, in its bits."""
    return np.asarray((values & MAGNITUDE) != 0 if values.dtype == np.uint16 else values != 0)


@dataclass(frozen=True)
class View:
    """A weight as a matrix ``[outputs, depth]``, its depth in the order in which a kernel walks it."""

    sizes: tuple[int, ...]
    """Of axes, of outputs first."""
    steps: tuple[int, ...]
    """How far apart neighbours along each are in the weight, in elements."""
    outputs: int

    def of(self, weight: np.ndarray) -> np.ndarray:
        """The matrix."""
        flat = np.ascontiguousarray(weight).reshape(-1)
        strides = [step * flat.itemsize for step in self.steps]
        return np.lib.stride_tricks.as_strided(flat, self.sizes, strides, writeable=False).reshape(self.outputs, -1)

    @property
    def depth(self) -> int:
        return math.prod(self.sizes) // self.outputs


@dataclass(frozen=True)
class KeptInputs:
    """A weight to ``starts [cells + 1]``, ``lines [fragments, deep]`` and ``values [fragments, ...]``.

    A cell is what a group of outputs has in a step of the depth; cells lie one after the other, steps of a group side
    by side. Of its inputs only those that one of the outputs has a weight for are stored, `deep` to a fragment: each
    has a line, counted in the step, and the weights of all outputs. What is left of a cell's last fragment has weights
    of 0, and lines that it has already. One more fragment lies behind the last: kernels load ahead.
    """

    view: View
    columns: int
    """Outputs of a group."""
    groups: int
    """Those beyond the last output have no fragments."""
    depth: int
    """Of a step."""
    deep: int
    layout: tuple[int, ...]
    """See `dsc.targets.gpu.sparse.gathering.Gathering`."""
    order: tuple[int, ...]
    banks: tuple[int, ...]
    """Of shared memory, in which each line of a step begins, by number."""
    fragments: int
    """That there is room for: layers of nearly the same density share code."""
    summed: bool = False
    """Whether what outputs' weights add up to is stored as well: ``[outputs of all groups]``."""

    @property
    def steps(self) -> int:
        """Of the depth."""
        return math.ceil(self.view.depth / self.depth)

    def arrays(self, weight: ArrayType) -> tuple[ArrayType, ...]:
        """The starts, the lines, the values, and maybe the sums."""
        found = (
            ArrayType((self.groups * self.steps + 1,), "int32"),
            ArrayType((self.fragments + 1, self.deep), "int32"),
            ArrayType((self.fragments + 1, len(self.layout)), weight.dtype),
        )
        return (*found, ArrayType((self.groups * self.columns,), "int32")) if self.summed else found

    def apply(self, array: np.ndarray) -> tuple[np.ndarray, ...]:
        """The packed copies; raises ValueError for a weight that has more fragments than its type says."""
        matrix = self.view.of(array)
        padded = np.zeros((self.groups * self.columns, self.steps * self.depth), array.dtype)
        padded[: matrix.shape[0], : matrix.shape[1]] = matrix
        split = padded.reshape(self.groups, self.columns, self.steps, self.depth)
        cell, line = np.nonzero(is_weight(split).any(axis=1).reshape(-1, self.depth))
        cell, line = self._ordered(cell, line)
        counts = np.bincount(cell, minlength=self.groups * self.steps)
        starts = np.zeros(len(counts) + 1, np.int32)
        starts[1:] = np.cumsum(-(-counts // self.deep))
        if starts[-1] > self.fragments:
            raise ValueError(f"{starts[-1]} fragments, where there is room for {self.fragments}")
        within = np.arange(len(cell)) - (np.cumsum(counts) - counts)[cell]
        fragment, slot = starts[cell] + within // self.deep, np.asarray(self.order)[within % self.deep]
        lines = np.zeros((self.fragments + 1, self.deep), np.int32)
        lines[fragment[within % self.deep == 0]] = line[within % self.deep == 0, None]
        lines[fragment, slot] = line
        values = np.zeros((self.fragments + 1, self.deep, self.columns), array.dtype)
        values[fragment, slot] = split[cell // self.steps, :, cell % self.steps, line]
        laid = values.reshape(len(values), -1)[:, np.asarray(self.layout)]
        found = starts, lines, np.ascontiguousarray(laid)
        return (*found, padded.sum(axis=1, dtype=np.int32)) if self.summed else found

    def _ordered(self, cell: np.ndarray, line: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The lines of each cell in turns from all banks, neighbours from banks that are far apart."""
        bank = np.asarray(self.banks)[line]
        apart = np.asarray([int(f"{i:03b}"[::-1], 2) for i in range(8)])[bank]
        by_bank = np.lexsort((line, bank, cell))
        key = (cell * 8 + bank)[by_bank]
        first = np.flatnonzero(np.r_[True, key[1:] != key[:-1]]) if len(key) else np.zeros(0, np.int64)
        rank = np.empty(len(cell), np.int64)
        rank[by_bank] = np.arange(len(key)) - np.repeat(first, np.diff(np.r_[first, len(key)]))
        order = np.lexsort((apart, rank, cell))
        return cell[order], line[order]


def room(encoding: SparseAttr, view: View, columns: int, depth: int, deep: int) -> int:
    """The most fragments that a weight of that type has, whatever outputs share; one at least."""
    pattern = Pattern.parse(encoding.pattern.data)
    groups, steps = math.ceil(view.outputs / columns), math.ceil(view.depth / depth)
    blocks = math.ceil(view.outputs / pattern.outputs) * math.ceil(view.depth / pattern.depth)
    occupied = math.floor(encoding.density * blocks) * pattern.depth
    if columns % pattern.outputs == 0:
        spans = 1
    elif pattern.outputs % columns == 0:
        spans = pattern.outputs // columns
    else:
        spans = math.ceil(pattern.outputs / columns) + 1
    entries = min(occupied * spans, groups * view.depth)
    begun = min(entries, groups * steps)  # cells whose last fragment may have one input
    return max(1, (entries + begun * (deep - 1)) // deep)
