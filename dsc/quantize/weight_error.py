"""What rounding does to weights."""

from __future__ import annotations

import math

import numpy as np


def weight_decibels(weight: np.ndarray, rounded: np.ndarray) -> float:
    """The signal-to-noise ratio of rounded weights."""
    wide = weight.astype(np.float64)
    power, noise = float((wide**2).sum()), float(((wide - rounded) ** 2).sum())
    if noise == 0:
        return math.inf
    return 10 * math.log10(power / noise) if power else -math.inf
