"""The calibrators by name: a statistic, and how a range is made of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import partial
from typing import Any

from dsc.errors import UsageError
from dsc.quantize.calibration.entropy import entropy
from dsc.quantize.calibration.histogram import Histogram
from dsc.quantize.calibration.percentile import percentile
from dsc.quantize.calibration.ranges import Range
from dsc.quantize.calibration.squares import mean_square
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


def _percentile(percent: float) -> Calibrator:
    return Calibrator(f"percentile-{percent:g}", Histogram, partial(percentile, percent=percent))


CALIBRATORS: Mapping[str, Calibrator] = {
    calibrator.name: calibrator
    for calibrator in (
        Calibrator("minmax", Extremes, _extremes),
        Calibrator("moving-average", MovingExtremes, _extremes),
        replace(_percentile(99.99), name="percentile"),
        *map(_percentile, (99, 99.9, 99.99, 99.999)),
        Calibrator("entropy", Histogram, entropy),
        Calibrator("mse", Histogram, mean_square),
    )
}
"""By name. There is a percentile for any other number too: "percentile-99.5"."""


def find_calibrator(name: str) -> Calibrator:
    """The calibrator of a name. Raises UsageError, with near names, where there is none."""
    if name in CALIBRATORS:
        return CALIBRATORS[name]
    if match := re.fullmatch(r"percentile-(\d{1,2}(?:\.\d{1,9})?|100)", name):
        return replace(_percentile(float(match[1])), name=name)
    near = get_close_matches(name, CALIBRATORS) or list(CALIBRATORS)
    raise UsageError(f"there is no calibrator {name!r}; is it {' or '.join(near)}?")
