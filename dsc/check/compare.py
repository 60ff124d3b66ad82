"""How far two arrays are apart."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_TIE = 1e-6  # relative: candidates this close in the reference are one as good as the other


@dataclass(frozen=True)
class OutputError:
    """What one output differs by.

    max_abs: the largest absolute difference, inf where only one side is finite. scale: max(1, largest
    absolute value of the reference). top1: the share of rows whose largest element is the same one, None
    where the output has no rows to rank. classes: whether it is scores of classes, (batch, classes), so
    that `top1` must be 1. mismatch: why the two cannot be compared (another shape or dtype), "" when they
    can.
    """

    name: str
    max_abs: float
    scale: float
    top1: float | None = None
    classes: bool = False
    mismatch: str = ""

    @property
    def relative(self) -> float:
        """max_abs / scale."""
        return self.max_abs / self.scale

    def within(self, tolerance: float) -> bool:
        """Whether the relative error is at most `tolerance`, and class scores have the same winners."""
        return not self.mismatch and self.relative <= tolerance and not (self.classes and self.top1 != 1.0)

    def __str__(self) -> str:
        if self.mismatch:
            return f"{self.name}: {self.mismatch}"
        size = f"max abs error {self.max_abs:.2e} of {self.scale:.3g}, relative {self.relative:.2e}"
        top1 = "" if self.top1 is None else f", top-1 equal in {self.top1:.1%}"
        return f"{self.name}: {size}{top1}"


def compare(name: str, expected: np.ndarray, actual: np.ndarray) -> OutputError:
    """The error of `actual`; NaN equals NaN and an infinity itself."""
    if expected.shape != actual.shape or expected.dtype != actual.dtype:
        said = [f"{array.dtype}{list(array.shape)}" for array in (expected, actual)]
        return OutputError(name, np.inf, 1.0, mismatch=f"expected {said[0]}, found {said[1]}")
    if expected.dtype.kind in "OUS":
        same = bool((expected == actual).all())
        return OutputError(name, 0.0, 1.0, mismatch="" if same else "strings differ")
    if not expected.size:
        return OutputError(name, 0.0, 1.0)
    wide = np.complex128 if expected.dtype.kind == "c" else np.float64
    difference = _difference(expected.astype(wide), actual.astype(wide))
    magnitude = np.abs(expected[np.isfinite(expected)].astype(wide))
    scale = max(1.0, float(magnitude.max(initial=0.0)))
    classes, top1 = _top1(expected, actual, scale)
    return OutputError(name, difference, scale, top1, classes)


def _difference(expected: np.ndarray, actual: np.ndarray) -> float:
    """The largest difference, where equal infinities and pairs of NaN count as none."""
    with np.errstate(invalid="ignore"):
        difference = np.abs(expected - actual)
    equal = (expected == actual) | (np.isnan(expected) & np.isnan(actual))
    difference[equal] = 0.0
    difference[np.isnan(difference)] = np.inf
    return float(difference.max())


def _top1(expected: np.ndarray, actual: np.ndarray, scale: float) -> tuple[bool, float | None]:
    """Whether these are class scores, and the share of rows with the same winner (ties count as same)."""
    shape = list(expected.shape)
    while shape and shape[-1] == 1:
        shape.pop()
    if len(shape) < 2 or expected.dtype.kind != "f" or not np.isfinite(expected).all():
        return False, None
    rows = expected.reshape(-1, shape[-1])
    winners = actual.reshape(-1, shape[-1]).argmax(1)[:, None]
    reached = np.take_along_axis(rows, winners, 1)[:, 0] >= rows.max(1) - _TIE * scale
    return len(shape) == 2, float(reached.mean())
