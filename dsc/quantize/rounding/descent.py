"""Coordinate descent on weights that may each be one of two bytes.

A layer's outputs are off by ``|y - x s q|^2 = s^2 q^T (x^T x) q - 2 s q^T (x^T y) + constant`` for integers q. In one
coordinate this is a parabola, whose lower end of two is the one nearer to its vertex, so each step is exact and the
error never rises. Steps are taken row by row, of all outputs at once, until none changes anything. The objective, and
that a weight goes up or down only, are AdaRound's (Nagel et al., Up or Down? Adaptive Rounding for Post-Training
Quantization, 2020), which relaxes it and follows its gradient over batches; descent by coordinates is as in CDQuant
(Nair and Suggala, 2024). It ends in a minimum with respect to single weights.
"""

from __future__ import annotations

import numpy as np

from dsc.quantize.rounding.grams import Gram

_BLOCK = 128
"""Rows that are up to date with one another; those after them learn of all their steps at once."""
_ROUNDS = 10
_WHOLE = 1e-4
"""Of a step: weights that are off an integer by no more stay there."""
DAMPING = 0.01
"""Share of the mean of x^T x's diagonal by which a weight is drawn to what it was: samples do not say everything."""


def descend(weight: np.ndarray, scale: np.ndarray, gram: Gram, largest: int) -> np.ndarray:
    """The integers, as floats, of a weight ([groups, depth, width]) in steps of `scale` ([groups, 1, width]).

    largest: integers are from minus that to that.
    """
    steps = weight.astype(np.float64) / scale
    low, high = (np.clip(side, -largest, largest) for side in (np.floor(steps + _WHOLE), np.ceil(steps - _WHOLE)))
    found: np.ndarray = np.clip(np.rint(steps), low, high)
    hessian, wanted = _damped(gram, weight)
    for _ in range(_ROUNDS):
        before = found.copy()
        _round(found, scale, low, high, hessian, wanted)
        if np.array_equal(before, found):
            break
    return found


def _damped(gram: Gram, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The quadratic and the linear part. Inputs that are always 0 let a weight stay the nearest."""
    depth = weight.shape[1]
    diagonal = np.arange(depth)
    mean = gram.inputs[:, diagonal, diagonal].mean(axis=1)
    damping = np.where(mean > 0, DAMPING * mean, 1.0)
    hessian = gram.inputs.copy()
    hessian[:, diagonal, diagonal] += damping[:, None]
    return hessian, gram.outputs + damping[:, None, None] * weight


def _round(
    found: np.ndarray, scale: np.ndarray, low: np.ndarray, high: np.ndarray, hessian: np.ndarray, wanted: np.ndarray
) -> None:
    """One step of each row; `found` is changed."""
    left = wanted - hessian @ (found * scale)  # minus half of the gradient
    depth = found.shape[1]
    for start in range(0, depth, _BLOCK):
        end = min(start + _BLOCK, depth)
        moves = np.empty((len(found), end - start, found.shape[2]))
        for row in range(start, end):
            vertex = found[:, row] + left[:, row] / (hessian[:, row, row, None] * scale[:, 0])
            nearest = np.clip(np.rint(vertex), low[:, row], high[:, row])
            moves[:, row - start] = (nearest - found[:, row]) * scale[:, 0]
            found[:, row] = nearest
            left[:, row:end] -= hessian[:, row:end, row, None] * moves[:, row - start, None]
        left[:, end:] -= hessian[:, end:, start:end] @ moves
