"""Half-quadratic quantization: scales and zero points for which a few large errors are let be and the others are small.

The error is measured by sum |w - s (q - z)|^p with p < 1, which few large differences hardly move. It is minimized by
splitting it: a sparse part of the error is shrunk out (the proximal operator of the norm), and what is left is least
squares, which has a closed form. (Badri and Shaji, Half-Quadratic Quantization of Large Machine Learning Models, 2023.)
Zero points are integers here, as ONNX has them, so that the scale takes the last step.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np

from dsc.quantize.weights.grid import Grid
from dsc.quantize.weights.nearest import extremes

NORM = 0.7
"""p."""
WEIGHT = 10.0
"""Of the quadratic part at first, in units of the scale ..."""
GROWTH = 1.01
"""... and by how much it grows with each step."""
STEPS = 20
Parameters: TypeAlias = tuple[np.ndarray, np.ndarray]
"""Scales and zero points."""


def half_quadratic(values: np.ndarray, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Scales and zero points ([n]) for `values` ([k, n]): those of the extremes, made better.

    The steps end in a minimum that is near. A search of scales by this norm would cut off the largest weights, which
    costs it little, and a layer's outputs much.
    """
    scales, zeros = extremes(values, grid)
    best, least = (scales, zeros), _norm(values, scales, zeros, grid)
    weight = WEIGHT
    for _ in range(STEPS):
        integers = grid.nearest(values, scales, zeros)
        target = values - _shrunk(values - scales * (integers - zeros), scales, weight)
        if not grid.symmetric:
            zeros = np.clip(np.rint((integers - target / scales).mean(axis=0)), grid.least, grid.largest)
        scales = _least_squares(target, integers - zeros, scales)
        best, least = _better(best, least, (scales, zeros), values, grid)
        weight *= GROWTH
    return best


def _better(
    best: Parameters, least: np.ndarray, found: Parameters, values: np.ndarray, grid: Grid
) -> tuple[Parameters, np.ndarray]:
    """The better ones of two, column by column, with their norms."""
    norm = _norm(values, *found, grid)
    scales, zeros = (np.where(norm < least, new, old) for new, old in zip(found, best, strict=True))
    return (scales, zeros), np.minimum(norm, least)


def _shrunk(errors: np.ndarray, scales: np.ndarray, weight: float) -> np.ndarray:
    """The sparse part: the proximal operator of the norm, of errors in units of the scale."""
    sizes = np.abs(errors) / scales
    with np.errstate(divide="ignore"):
        kept = np.maximum(sizes - np.power(sizes, NORM - 1) / weight, 0)
    shrunk: np.ndarray = np.sign(errors) * kept * scales
    return shrunk


def _least_squares(target: np.ndarray, steps: np.ndarray, before: np.ndarray) -> np.ndarray:
    """The scales that bring `steps` nearest to `target`, as float32 has them; those before where none is positive."""
    squares = (steps * steps).sum(axis=0)
    found = (target * steps).sum(axis=0) / np.where(squares > 0, squares, 1)
    rounded = found.astype(np.float32).astype(np.float64)
    return np.where(rounded > 0, rounded, before)


def _norm(values: np.ndarray, scales: np.ndarray, zeros: np.ndarray, grid: Grid) -> np.ndarray:
    errors = values - scales * (grid.nearest(values, scales, zeros) - zeros)
    total: np.ndarray = np.power(np.abs(errors), NORM).sum(axis=0)
    return total
