"""Masks by the alternating direction method of multipliers, and the weights that stay by least squares.

``min tr((v - t) H (v - t)^T)`` over v that equals a d with the pattern's zeros. In turns v is the minimum of the error
and of the distance to d, in closed form by the eigenvectors of H, and d the best of the pattern near v; their
difference is summed up in u, and the distance counts for more each time the mask still changes. Weights are in units of
the root of H's diagonal. (Boyd et al., Distributed Optimization and Statistical Learning via ADMM, 2011; Meng et al.,
ALPS: Improved Optimization for Highly Sparse One-Shot Pruning for Large Language Models, 2024.)
"""

from __future__ import annotations

import numpy as np

from dsc.prune.problem import Problem
from dsc.prune.refit import refit
from dsc.sparsity import Pattern

STEPS = 100
"""At most; it ends when the mask no longer changes."""
_FIRST = 0.03
"""What the distance counts for at first, where H has ones on its diagonal ..."""
_EVERY = 3
"""... raised after so many steps, ..."""
_GROWTH = ((0.1, 1.3), (0.005, 1.2), (0.0, 1.1))
"""... by a factor, for the share of the kept elements that changed since then."""
_LEAST = 1e-3
"""What is taken for the density where it is less, in that share."""
_GLANCE = 10
"""Steps of a refit that tell whether a mask is worth more."""


def admm(problem: Problem, pattern: Pattern, density: float) -> np.ndarray:
    """The weight of a mask that knows how the others adapt, or of the weights that count most, if that is better."""
    found = refit(problem, problem.target, _mask(problem, pattern, density))
    largest = pattern.keep(problem.target**2 * problem.diagonal, density)
    other = refit(problem, problem.target, largest, _GLANCE)
    return found if problem.error(found) <= problem.error(other) else refit(problem, other, largest)


def _mask(problem: Problem, pattern: Pattern, density: float) -> np.ndarray:
    unit = np.sqrt(problem.diagonal)
    values, vectors = np.linalg.eigh((problem.hessian / np.outer(unit, unit)).astype(np.float32))
    values = np.maximum(values, 0)  # but for roundings of float32
    target = (problem.target * unit).astype(np.float32)
    wanted = (target @ vectors) * values  # t H, in the eigenvectors' coordinates
    mask = last = pattern.keep(target**2, density)
    near, sums, weight = np.where(mask, target, 0), np.zeros_like(target), np.float32(_FIRST)
    for step in range(1, STEPS + 1):
        full = ((wanted + (weight * near - sums) @ vectors) / (values + weight)) @ vectors.T
        wish = full + sums / weight
        mask = pattern.keep(wish**2, density)
        near = np.where(mask, wish, 0)
        sums += weight * (full - near)
        if step % _EVERY == 0:
            changed = float(np.mean(mask != last) / max(density, _LEAST))
            if changed == 0:
                break
            weight *= np.float32(next(factor for least, factor in _GROWTH if changed > least))
            last = mask
    return mask
