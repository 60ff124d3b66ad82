"""What pruning a layer is asked to do: weights with few that are not zero, whose outputs on data are those of float.

With x the rows that the layer is given in the pruned model and y the outputs of the float model for the same samples,
the squared error of a weight v is ``||y - x v^T||^2``, which but for a constant is ``tr((v - t) H (v - t)^T)``: H is
the damped ``x^T x``, and t the weight for which it is least, the float weight where x is as in the float model. Damping
is towards the float weight, so that what the data does not tell stays as it was.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

DAMPING = 0.01
"""Share of the mean of the diagonal of x^T x that is added to it."""


@dataclass(frozen=True, eq=False)
class Problem:
    """hessian: H, [depth, depth], or its diagonal, [depth], where it has nothing else. target: t, [outputs, depth].

    Both float64.
    """

    hessian: np.ndarray
    target: np.ndarray

    @staticmethod
    def of(weight: np.ndarray, inputs: np.ndarray, outputs: np.ndarray) -> Problem:
        """weight: of the float model, [outputs, depth]. inputs: x^T x. outputs: y^T x, [outputs, depth]."""
        hessian, damping = _damped(inputs)
        return Problem(hessian, np.linalg.solve(hessian, (outputs + weight * damping).T).T)

    @staticmethod
    def as_in_float(weight: np.ndarray, inputs: np.ndarray) -> Problem:
        """Of a layer that reads what it reads in the float model: no weight is better than its own."""
        return Problem(_damped(inputs)[0], weight.astype(np.float64))

    @staticmethod
    def without_data(weight: np.ndarray) -> Problem:
        """The error is that of the weights themselves."""
        return Problem(np.ones(weight.shape[1]), weight.astype(np.float64))

    @property
    def diagonal(self) -> np.ndarray:
        """Of H."""
        return self.hessian if self.hessian.ndim == 1 else np.diagonal(self.hessian)

    def times(self, matrix: np.ndarray) -> np.ndarray:
        """[outputs, depth] by H."""
        return np.asarray(matrix * self.hessian if self.hessian.ndim == 1 else matrix @ self.hessian)

    @cached_property
    def power(self) -> float:
        """Of the outputs that are wanted: what the error is without any weight."""
        return self.error(np.zeros_like(self.target))

    def error(self, matrix: np.ndarray) -> float:
        """The squared error of a weight, less that of the target."""
        off = matrix - self.target
        return float(np.sum(self.times(off) * off))


def _damped(inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """H, and what was added to its diagonal.

    Inputs that are always 0 count as independent ones, and so do all where squares of float32 tell nothing of them.
    """
    diagonal = np.diagonal(inputs)
    mean = float(diagonal.mean())
    if mean < np.finfo(np.float32).tiny:
        diagonal, inputs, mean = np.zeros_like(diagonal), np.zeros_like(inputs), 1.0
    damping = np.where(diagonal > 0, 0.0, mean) + DAMPING * mean
    return inputs + np.diag(damping), damping
