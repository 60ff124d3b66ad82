"""How far one output of the reference moves when its intermediate results are off by a rounding."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dsc.check.difference import differences, is_float, magnitude
from dsc.elements import integer_encoding

_FACTOR = 4.0
"""Times the largest movement seen: a kernel that sums in another order may be this much further off than one unit in
the last place of its result, and few runs do not see the worst."""
_LIKE = 4.0
"""Elements up to this many times as large are alike: rounding moves them as far."""
_FEW = 8
"""Elements that are alike at least, or the movement of one says nothing."""
_SPREAD = 0.1
"""Share of integers that move above which they are quantities (sums of quantized values), not indices."""


@dataclass(frozen=True)
class Movement:
    """One output, computed exactly as the reference does and several times with rounding errors put in.

    still: without them. runs: with them, all of the shape of `still`.
    """

    still: np.ndarray
    runs: tuple[np.ndarray, ...]

    @property
    def largest(self) -> float:
        """The largest movement of an element."""
        return max((float(run.max(initial=0.0)) for run in self._distances()), default=0.0)

    def judge(self, expected: np.ndarray, actual: np.ndarray, allowed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What is allowed after all, and which elements of `actual` are still wrong; all are flat.

        A difference is explained by rounding where elements of like magnitude move nearly as far, and where not many
        more elements differ than move.
        """
        different = differences(expected, actual)
        moved = self._distances()
        if not moved:
            return allowed, different > allowed
        reach = np.max(moved, axis=0)
        if is_float(expected.dtype) or float((reach > 0).mean()) > _SPREAD:
            return _of_quantities(different, moved, reach, allowed, magnitude(expected))
        return _of_choices(actual, different, [run.reshape(-1) for run in self.runs], moved, allowed)

    def _distances(self) -> list[np.ndarray]:
        still = self.still.reshape(-1)
        return [differences(still, run.reshape(-1)) for run in self.runs]


def _of_quantities(
    different: np.ndarray, moved: list[np.ndarray], reach: np.ndarray, allowed: np.ndarray, size: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    level = _level(reach, size)
    wider = np.maximum(allowed, _FACTOR * level)
    wrong = different > wider
    # A few elements that jump by a step of a quantization must not allow all to be a step off.
    weight = np.divide(1.0, level, out=np.zeros_like(level), where=(level > 0) & np.isfinite(level))
    usual = max(float(np.sqrt(np.mean((run * weight) ** 2))) for run in moved)
    excess = np.where(different > allowed, np.minimum(different, wider), 0.0)
    if float(np.sqrt(np.mean((excess * weight) ** 2))) > _FACTOR * usual:
        wrong |= different > allowed
    return wider, wrong


def _level(reach: np.ndarray, size: np.ndarray) -> np.ndarray:
    """For each element the largest movement among those that are not much larger than it."""
    order = np.argsort(size, kind="stable")
    highest = np.maximum.accumulate(reach[order])
    last = np.searchsorted(size[order], _LIKE * size, side="right")
    alike: np.ndarray = highest[np.clip(last, min(_FEW, size.size), size.size) - 1]
    return alike


def _of_choices(
    actual: np.ndarray,
    different: np.ndarray,
    runs: list[np.ndarray],
    moved: list[np.ndarray],
    allowed: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Indices, flags and quantized values: what a run with rounding errors chose, or one step beside at ties."""
    seen = np.any([actual == run for run in runs], axis=0)
    reach, steps = float(np.max(moved)), different == 1.0
    is_quantized = actual.dtype.itemsize == 1 and integer_encoding(actual.dtype) is not None and reach > 0
    wrong = (different > allowed) & ~seen & ~(steps & is_quantized)
    often = max(float((run > 0).mean()) for run in moved)
    if float((different > allowed).mean()) > _FACTOR * max(often, 1 / different.size):
        wrong |= different > allowed
    return np.where(seen, np.maximum(allowed, different), allowed), wrong
