"""Round to nearest: the scale of a group takes in its extremes."""

from __future__ import annotations

import numpy as np

from dsc.quantize.weights.grid import Grid


def extremes(values: np.ndarray, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Scales and zero points ([n]) with which all of `values` ([k, n]) are in range; 0 is exact.

    Groups without another number than 0 have the scale 1.
    """
    if grid.symmetric:
        scales = np.abs(values).max(axis=0) / grid.largest
        return _positive(scales), np.zeros_like(scales)
    low, high = np.minimum(values.min(axis=0), 0), np.maximum(values.max(axis=0), 0)
    scales = _positive((high - low) / (grid.largest - grid.least))
    return scales, np.clip(np.rint(-low / scales), grid.least, grid.largest)


def _positive(scales: np.ndarray) -> np.ndarray:
    """Scales as float32 has them: those that are 0 there are 1."""
    rounded = scales.astype(np.float32).astype(np.float64)
    return np.where(rounded > 0, rounded, 1.0)
