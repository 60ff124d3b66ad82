"""The largest weights stay as they are."""

from __future__ import annotations

import numpy as np

from dsc.prune.problem import Problem
from dsc.sparsity import Pattern


def magnitude(problem: Problem, pattern: Pattern, density: float) -> np.ndarray:
    """Of blocks those with the largest sum of squares."""
    return np.where(pattern.keep(problem.target**2, density), problem.target, 0.0)
