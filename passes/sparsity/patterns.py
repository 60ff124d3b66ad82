"""The pattern that the zeros of a weight follow best."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dsc.sparsity import Pattern, matrix_of

BLOCKS = (Pattern(16), Pattern(8), Pattern(4), Pattern(2), Pattern())
"""Largest first. Blocks along the depth are taken for their columns: kernels load no less for them."""
SLACK = 1.05
"""How many more elements may be in occupied blocks than there are that are not 0."""


@dataclass(frozen=True)
class Zeros:
    """Where a weight has zeros."""

    pattern: Pattern
    density: float
    """Share of its blocks that are occupied."""


def zeros_of(weight: np.ndarray, axis: int) -> Zeros:
    """The largest blocks of outputs that hold hardly an element more than is not 0.

    axis: of the outputs.
    """
    occupied = matrix_of(weight, axis) != 0
    elements = np.count_nonzero(occupied)
    for pattern in BLOCKS:
        blocks = pattern.occupied(occupied)
        if pattern.size == 1 or np.count_nonzero(blocks) * pattern.size <= SLACK * elements:
            return Zeros(pattern, np.count_nonzero(blocks) / blocks.size)
    raise AssertionError("single elements always fit")
