"""Activations in whole steps of their groups, in float64: what `cpu.quantized_rows` multiplies."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

LARGEST = {"int8": 127, "int16": 127 * 257}
SMALLEST = 2.0**-100
"""A group of smaller numbers has the step of one that has this."""


@dataclass(frozen=True)
class InSteps:
    """An array by groups of its last axis."""

    steps: np.ndarray
    """Of each element."""
    rounded: np.ndarray
    """What each element becomes."""
    is_tie: np.ndarray
    """Whether float32 may round to the other side: elements within a few of its units of a tie."""


def in_steps(x: np.ndarray, size: int, element: str) -> InSteps:
    """Elements in groups of `size` become integers of that type, times their step."""
    wide = x.astype(np.float64)
    groups = np.arange(x.shape[-1]) // size
    largest = np.stack([np.abs(wide[..., groups == g]).max(-1) for g in range(groups[-1] + 1)], -1)
    steps = np.maximum(largest, SMALLEST)[..., groups] / LARGEST[element]
    exact = wide / steps
    whole = np.rint(exact)
    is_tie = np.abs(np.abs(exact - whole) - 0.5) < np.abs(exact) * 2.0**-21 + 1e-9
    return InSteps(steps, whole * steps, is_tie)


def product(
    x: np.ndarray, weight: np.ndarray, size: int, element: str, magnitudes: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """``x @ weight`` of elements in steps, and a bound of what float32 may be off by: roundings of sums of so many
    terms, and a step of each tie.

    magnitudes: of what is summed, where that is not the weight itself but parts of which it is the difference.
    """
    found = in_steps(x, size, element)
    roundings = np.abs(found.rounded) @ (np.abs(weight) if magnitudes is None else magnitudes) * 2.0**-20
    return found.rounded @ weight, roundings + (found.is_tie * found.steps) @ np.abs(weight)
