"""GPTQ: what rounding one row of a weight changes in a layer's outputs, the rows after it take back.

The outputs of a layer move by ``tr(D^T H D)`` for a change D of its weight, H = X^T X of the inputs it is given. Row
after row is rounded; the change of those not rounded yet that makes up best for the error of one is along a row of the
Cholesky factor of the inverse of H. Rows are taken in blocks, and those beyond a block are changed once for all of it.
(Frantar et al., GPTQ: Accurate Post-Training Quantization for Generative Pre-trained Transformers, 2022.)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from dsc.quantize.weights.grid import Grid, Rounded, collected

Fit: TypeAlias = Callable[[np.ndarray, Grid], tuple[np.ndarray, np.ndarray]]
"""Gives scales and zero points ([n]) for the values of a group ([k, n])."""

BLOCK = 128
"""Rows whose errors are kept from the rows after them until all are known."""
DAMPING = 0.01
"""Share of the mean of H's diagonal that is added to it, so that it has an inverse."""


def gptq(weight: np.ndarray, hessian: np.ndarray, grid: Grid, size: int, fit: Fit) -> Rounded:
    """The weight ([k, n]) rounded by groups of `size` rows for inputs of which `hessian` ([k, k]) is X^T X.

    The scales of a group are those of its rows as they are when their turn comes.
    """
    left, depth = weight.astype(np.float64), len(weight)
    factor = _factor(hessian)
    integers = np.empty_like(left)
    groups = -(-depth // size)
    scales, zeros = np.empty((groups, left.shape[1])), np.empty((groups, left.shape[1]))
    block = size * max(1, BLOCK // size)  # groups do not straddle blocks: their rows are up to date
    for start in range(0, depth, block):
        end = min(start + block, depth)
        errors = np.empty((end - start, left.shape[1]))
        for row in range(start, end):
            group = row // size
            if row % size == 0:
                scales[group], zeros[group] = fit(left[row : row + size], grid)
            integers[row] = grid.nearest(left[row], scales[group], zeros[group])
            error = left[row] - scales[group] * (integers[row] - zeros[group])
            errors[row - start] = error / factor[row, row]
            left[row + 1 : end] -= np.outer(factor[row, row + 1 : end], errors[row - start])
        left[end:] -= factor[start:end, end:].T @ errors
    return collected(grid, integers, scales, zeros, size)


def _factor(hessian: np.ndarray) -> np.ndarray:
    """The upper Cholesky factor of the damped inverse. Inputs that are always 0 count as independent ones."""
    damped = hessian.astype(np.float64)
    diagonal = np.diagonal(damped).copy()
    mean = diagonal.mean() if diagonal.any() else 1.0
    np.fill_diagonal(damped, np.where(diagonal > 0, diagonal, mean) + DAMPING * mean)
    factor: np.ndarray = np.linalg.cholesky(np.linalg.inv(damped)).T
    return factor
