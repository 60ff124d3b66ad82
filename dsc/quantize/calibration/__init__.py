"""What numbers a model's tensors take on samples: statistics in one pass over the data, and ranges made of them."""

from __future__ import annotations

from dsc.quantize.calibration.calibrate import calibrate, channel_maxima
from dsc.quantize.calibration.calibrators import CALIBRATORS, Calibrator, find_calibrator
from dsc.quantize.calibration.collect import Feed, collect
from dsc.quantize.calibration.data import Samples, find_samples
from dsc.quantize.calibration.histogram import Histogram
from dsc.quantize.calibration.ranges import Range
from dsc.quantize.calibration.statistics import ChannelMaxima, Extremes, MovingExtremes, Statistic, Values

__all__ = [
    "CALIBRATORS",
    "Calibrator",
    "ChannelMaxima",
    "Extremes",
    "Feed",
    "Histogram",
    "MovingExtremes",
    "Range",
    "Samples",
    "Statistic",
    "Values",
    "calibrate",
    "channel_maxima",
    "collect",
    "find_calibrator",
    "find_samples",
]
