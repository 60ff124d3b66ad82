"""How far an output is from the reference's, and whether that is too far."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from dsc.check.difference import differences, is_float, magnitude
from dsc.check.movement import Movement
from dsc.check.tolerance import Tolerance

_DEFAULT = Tolerance()


@dataclass(frozen=True)
class OutputError:
    """What one output differs by.

    max_abs: the largest absolute difference, inf where only one side is NaN or infinite. max_rel: the largest
    difference relative to the element itself, inf where that is 0. scale: the largest finite magnitude expected.
    elements, wrong: how many there are, and how many are further off than allowed. worst: the one that is furthest
    beyond what is allowed. atol, rtol: either would let it pass, None where none would. moved: how far rounding alone
    moves the reference, where that was asked for. mismatch: why the two cannot be compared, "" when they can.
    """

    name: str
    type: str
    elements: int = 0
    wrong: int = 0
    max_abs: float = 0.0
    max_rel: float = 0.0
    scale: float = 0.0
    worst: str = ""
    atol: float | None = 0.0
    rtol: float | None = 0.0
    moved: float | None = None
    mismatch: str = ""

    @property
    def passed(self) -> bool:
        """Whether every element is near enough."""
        return not self.mismatch and not self.wrong

    @property
    def relative(self) -> float:
        """The largest difference, of the largest magnitude."""
        return self.max_abs / self.scale if self.scale else (np.inf if self.max_abs else 0.0)

    @property
    def remedy(self) -> str:
        """Which tolerance would have passed; "" where none would."""
        found = [f"--{n} {_up(value)}" for n, value in (("atol", self.atol), ("rtol", self.rtol)) if value is not None]
        return " or ".join(found)

    def __str__(self) -> str:
        if self.mismatch:
            return f"{self.name}: {self.mismatch}"
        text = f"{self.name}, {self.type}: max abs error {self.max_abs:.2e} of {self.scale:.3g}, rel {self.max_rel:.2e}"
        if self.moved is not None:
            text += f"; rounding moves the reference by {self.moved:.2e}"
        if self.wrong:
            text += f"\n    {self.wrong} of {self.elements} elements differ by more than allowed, worst {self.worst}"
            text += f"\n    it would pass with {self.remedy}" if self.remedy else "\n    no tolerance would let it pass"
        return text


def compare(
    name: str,
    expected: np.ndarray,
    actual: np.ndarray,
    tolerance: Tolerance = _DEFAULT,
    movement: Movement | None = None,
) -> OutputError:
    """The error of `actual`. NaN must stand where NaN is expected, and an infinity where that infinity is.

    movement: how far rounding moves the reference; what is within that is allowed as well.
    """
    expected, actual = np.asarray(expected), np.asarray(actual)
    kind = f"{expected.dtype}{list(expected.shape)}"
    if expected.shape != actual.shape or expected.dtype != actual.dtype:
        found = f"{actual.dtype}{list(actual.shape)}"
        return OutputError(name, kind, mismatch=f"expected {kind}, found {found}")
    if expected.dtype.kind in "OUS":
        same = bool((expected == actual).all())
        return OutputError(name, kind, mismatch="" if same else "strings differ")
    if not expected.size:
        return OutputError(name, kind)
    if expected.dtype.kind == "c":
        return replace(compare(name, _parts(expected), _parts(actual), tolerance), type=kind)
    shape = expected.shape
    return _measured(OutputError(name, kind), shape, expected.reshape(-1), actual.reshape(-1), tolerance, movement)


def _measured(
    empty: OutputError,
    shape: tuple[int, ...],
    expected: np.ndarray,
    actual: np.ndarray,
    tolerance: Tolerance,
    movement: Movement | None,
) -> OutputError:
    different, size = differences(expected, actual), magnitude(expected)
    allowed = tolerance.allowed(expected)
    wrong = (different > allowed) | np.isinf(different)  # where only one is finite, no tolerance will do
    if movement is not None and wrong.any():
        allowed, wrong = movement.judge(expected, actual, allowed)
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = np.where(different == 0, 0.0, different / size)
    beyond = np.argmax(np.where(wrong, different, -1.0))
    place = [int(index) for index in np.unravel_index(beyond, shape)]
    said = f"{place}: expected {expected[beyond]}, found {actual[beyond]}, within {allowed[beyond]:.2e}"
    atol, rtol = float(different.max()), float(relative.max())
    return replace(
        empty,
        elements=expected.size,
        wrong=int(wrong.sum()),
        max_abs=atol,
        max_rel=rtol,
        scale=float(size.max()),
        worst=said if wrong.any() else "",
        atol=atol if np.isfinite(atol) else None,
        rtol=rtol if np.isfinite(rtol) and is_float(expected.dtype) else None,
        moved=None if movement is None else movement.largest,
    )


def _parts(array: np.ndarray) -> np.ndarray:
    """Complex numbers as pairs of reals, in a last dim."""
    return np.stack([array.real, array.imag], axis=-1)


def _up(value: float) -> str:
    """Three digits, rounded up: given as a tolerance it does pass."""
    return f"{value * 1.01:.3g}"
