"""The pattern that the zeros of a weight follow best: of those that kernels use, or of all that there are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dsc.sparsity import Pattern, matrix_of

LARGEST = 16
"""Outputs of a block."""
DEPTHS = (16, 8, 4, 2)
"""Inputs of a block, the largest first."""
FOURS = (16, 8, 4)
"""Inputs of blocks that are whole fours: of bytes, what instructions multiply at once."""
SLACK = 1.05
"""How many more elements may be in occupied blocks than there are that are not 0."""


STRUCTURED = (2, 4)
"""Of each so many neighbouring inputs, that are kept: what instructions multiply as such."""
HARDLY = 0.25
"""Density of a weight up to which skipping all zeros is worth more than that."""


@dataclass(frozen=True)
class Zeros:
    """Where a weight has zeros."""

    pattern: Pattern
    density: float
    """Share of its blocks that are occupied."""


def zeros_of(weight: np.ndarray, axis: int, depths: Sequence[int] = ()) -> Zeros:
    """The largest blocks of outputs that hold hardly an element more than is not 0; longer ones along the depth where
    these do not either; and whether of each four inputs two are kept, at most.

    axis: of the outputs. depths: inputs of a block, besides one, the largest first. Kernels of floats have no use for
    them: they load no less than for the columns of such blocks.
    """
    occupied = np.moveaxis(weight, axis, 0) != 0
    elements, outputs = int(np.count_nonzero(occupied)), 1
    found = Zeros(Pattern(), elements / occupied.size)
    while 2 * outputs <= min(LARGEST, weight.shape[axis]):
        outputs, occupied = 2 * outputs, _pairs(occupied)
        if _held(occupied, outputs, weight.shape[axis]) <= SLACK * elements:
            found = Zeros(Pattern(outputs), np.count_nonzero(occupied) / occupied.size)
    matrix, outputs = matrix_of(weight, axis), found.pattern.outputs
    longer = _along_the_depth(matrix, outputs, depths, elements)
    if longer is not None:
        return longer
    structured = Pattern(outputs, limit=STRUCTURED)
    says_something = found.density > HARDLY and matrix.shape[1] >= STRUCTURED[1]
    return Zeros(structured, found.density) if says_something and structured.holds(matrix) else found


def _along_the_depth(matrix: np.ndarray, outputs: int, depths: Sequence[int], elements: int) -> Zeros | None:
    """The first of these depths whose blocks hold hardly more than so many elements that are not 0."""
    if elements == 0:
        return None
    for depth in depths:
        pattern = Pattern(outputs, depth)
        occupied = pattern.occupied(matrix)
        if pattern.spread(occupied, (matrix.shape[0], matrix.shape[1])).sum() <= SLACK * elements:
            return Zeros(pattern, float(occupied.mean()))
    return None


def _held(occupied: np.ndarray, outputs: int, count: int) -> int:
    """Elements in occupied blocks of so many outputs; of `count`, the last block has what is left."""
    sizes = np.minimum(outputs, count - np.arange(0, count, outputs))
    return int(sizes @ np.count_nonzero(occupied.reshape(len(sizes), -1), axis=1))


def _pairs(occupied: np.ndarray) -> np.ndarray:
    """Of blocks, those of twice as many outputs; the last may be smaller."""
    even, odd = occupied[::2], occupied[1::2]
    joined = even.copy()
    joined[: len(odd)] |= odd
    return joined


_LIMITS = ((1, 4), (2, 8), (2, 4), (4, 8))
"""Blocks that are kept, of how many neighbours along the depth: the strictest first."""


def best_pattern(weight: np.ndarray, axis: int) -> Zeros:
    """The most that can be said of where a weight has zeros: blocks of outputs, longer ones along the depth if these
    hold hardly more, else so many of each few neighbours, where nearly as many are there.

    axis: of the outputs.
    """
    matrix, found = matrix_of(weight, axis), zeros_of(weight, axis, DEPTHS)
    if found.pattern.depth > 1:
        return found
    for limit in _LIMITS:
        pattern = Pattern(found.pattern.outputs, limit=limit)
        if SLACK * found.density >= limit[0] / limit[1] and pattern.holds(matrix):
            return Zeros(pattern, found.density)
    return found
