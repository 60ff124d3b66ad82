"""The calibrators by name: a statistic, and how a range is made of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from dsc.errors import UsageError
from dsc.quantize.calibration.ranges import Range
from dsc.quantize.calibration.statistics import Extremes, MovingExtremes, Statistic


@dataclass(frozen=True)
class Calibrator:
    """How the range of a tensor is found. Calibrators of one statistic share it.

    aggregate: makes a range of a statistic, which has counted a tensor at least once.
    """

    name: str
    statistic: Callable[[], Statistic]
    aggregate: Callable[[Any], Range]


def _extremes(statistic: Extremes | MovingExtremes) -> Range:
    return Range(statistic.low, statistic.high)


CALIBRATORS = {
    calibrator.name: calibrator
    for calibrator in (
        Calibrator("minmax", Extremes, _extremes),
        Calibrator("moving-average", MovingExtremes, _extremes),
    )
}


def find_calibrator(name: str) -> Calibrator:
    """The calibrator of a name. Raises UsageError, with near names, where there is none."""
    if name not in CALIBRATORS:
        near = get_close_matches(name, CALIBRATORS) or list(CALIBRATORS)
        raise UsageError(f"there is no calibrator {name!r}; is it {' or '.join(near)}?")
    return CALIBRATORS[name]
