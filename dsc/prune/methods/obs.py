"""Optimal brain surgeon, column by column: what setting a weight to zero changes in outputs, those after it take back.

A weight costs ``w_j^2 / c_jj^2``, c the upper Cholesky factor of the inverse of H: the least error that is left when
the weights of the columns behind it adapt, which they do by ``-w_j c_jk / c_jj``. Masks are chosen for a block of
columns, when all before it have been dealt with; what a block changes in the columns behind it is done once for all of
it. (Hassibi and Stork, Second Order Derivatives for Network Pruning, 1992; Frantar and Alistarh, SparseGPT: Massive
Language Models Can Be Accurately Pruned in One-Shot, 2023.)
"""

from __future__ import annotations

import numpy as np

from dsc.prune.problem import Problem
from dsc.sparsity import Pattern

BLOCK = 128
"""Columns for which a mask is chosen at once, or the next multiple of a pattern's."""


def obs(problem: Problem, pattern: Pattern, density: float) -> np.ndarray:
    """Of a block of outputs that share their zeros, the costs are summed up."""
    left = problem.target.copy()
    factor = np.linalg.cholesky(np.linalg.inv(problem.hessian)).T
    depth = left.shape[1]
    step = pattern.depth * (pattern.limit[1] if pattern.limit else 1)
    block = step * -(-BLOCK // step)
    kept = 0
    for start in range(0, depth, block):
        end = min(start + block, depth)
        costs = (left[:, start:end] / np.diagonal(factor)[start:end]) ** 2
        wanted = density * pattern.blocks(left[:, :end]).size - kept  # all up to here have the density, not each part
        mask = pattern.keep(costs, min(1.0, max(0.0, wanted / pattern.blocks(costs).size)))
        kept += int(np.count_nonzero(pattern.occupied(mask)))
        errors = np.empty_like(costs)
        for column in range(start, end):
            gone = np.where(mask[:, column - start], 0.0, left[:, column])
            errors[:, column - start] = gone / factor[column, column]
            left[:, column:end] -= np.outer(errors[:, column - start], factor[column, column:end])
        left[:, start:end] = np.where(mask, left[:, start:end], 0.0)
        left[:, end:] -= errors @ factor[start:end, end:]
    return left
