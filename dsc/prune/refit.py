"""The kept weights of each output anew, by least squares."""

from __future__ import annotations

import numpy as np

from dsc.prune.problem import Problem

STEPS = 50
"""Of conjugate gradients, at most."""
_ENOUGH = 1e-4
"""The share of the first gradient's norm at which an output is done."""


def refit(problem: Problem, start: np.ndarray, mask: np.ndarray, steps: int = STEPS) -> np.ndarray:
    """The weight of the least error that is 0 where the mask is false, or what comes near it in so many steps.

    Its error is never more than that of `start` with these zeros. Of each output the normal equations on its kept set,
    ``(v - t) H = 0`` there, by conjugate gradients with the diagonal of H for a preconditioner; all outputs at once, so
    that a step is one product of matrices.
    """
    scale = 1 / problem.diagonal
    found = np.where(mask, start, 0.0)
    left = np.where(mask, problem.times(problem.target - found), 0.0)
    ahead = left * scale
    direction, power = ahead, np.sum(left * ahead, axis=1)
    enough = power * _ENOUGH**2
    for _ in range(steps):
        if not (power > enough).any():
            break
        image = np.where(mask, problem.times(direction), 0.0)
        curvature = np.sum(direction * image, axis=1)
        step = np.divide(power, curvature, out=np.zeros_like(power), where=(curvature > 0) & (power > enough))
        found = found + step[:, None] * direction
        left = left - step[:, None] * image
        ahead = left * scale
        before, power = power, np.sum(left * ahead, axis=1)
        turned = np.divide(power, before, out=np.zeros_like(power), where=before > 0)
        direction = ahead + turned[:, None] * direction
    return found
