"""What rounding does to weights."""

from __future__ import annotations

import numpy as np

from dsc.check.deviation import decibels


def weight_decibels(weight: np.ndarray, rounded: np.ndarray) -> float:
    """The signal-to-noise ratio of rounded weights."""
    wide = weight.astype(np.float64)
    return decibels(float((wide**2).sum()), float(((wide - rounded) ** 2).sum()))
