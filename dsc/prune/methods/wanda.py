"""Weights that stay by their size and that of the input they are multiplied by: ``|w_ij| ||x_j||``.

They are compared with those of the same output, or block of outputs. (Sun et al., A Simple and Effective Pruning
Approach for Large Language Models, 2023.)
"""

from __future__ import annotations

import numpy as np

from dsc.prune.problem import Problem
from dsc.sparsity import Pattern


def wanda(problem: Problem, pattern: Pattern, density: float) -> np.ndarray:
    """Weights are as they were; inputs are those of the float model."""
    saliency = problem.target**2 * problem.diagonal
    outputs = range(0, len(saliency), pattern.outputs)
    masks = [pattern.keep(saliency[first : first + pattern.outputs], density) for first in outputs]
    return np.where(np.concatenate(masks), problem.target, 0.0)
