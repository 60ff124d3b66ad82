"""Ranges of a model's tensors, from what they are on samples."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

import numpy as np
import onnx

from dsc.quantize.calibration.calibrators import find_calibrator
from dsc.quantize.calibration.collect import Feed, collect
from dsc.quantize.calibration.ranges import Range
from dsc.quantize.calibration.statistics import ChannelMaxima, Statistic


def calibrate(
    proto: onnx.ModelProto,
    data: Iterable[Feed],
    calibrators: Sequence[str] = ("minmax",),
    tensors: Collection[str] | None = None,
    *,
    on_progress: Callable[[int], None] | None = None,
) -> dict[str, dict[str, Range]]:
    """The range of each tensor by calibrator, from one pass over the data.

    proto: the float model. data: inputs by name, one feed each; read once, and never held. calibrators: names in
    `CALIBRATORS`. tensors: None for every float tensor that nodes read or write, constants included. on_progress: told
    how many feeds are done. A tensor that never has an element has no range. Raises UsageError as `collect` does, and
    for a calibrator or tensor that is not there.
    """
    asked = {name: find_calibrator(name) for name in calibrators}
    makers = dict.fromkeys(calibrator.statistic for calibrator in asked.values())
    kept: defaultdict[str, list[Statistic]] = defaultdict(lambda: [make() for make in makers])
    collect(proto, data, kept.__getitem__, tensors, on_progress=on_progress)
    place = {make: index for index, make in enumerate(makers)}
    return {
        name: {tensor: calibrator.aggregate(found[place[calibrator.statistic]]) for tensor, found in kept.items()}
        for name, calibrator in asked.items()
    }


def channel_maxima(
    proto: onnx.ModelProto,
    data: Iterable[Feed],
    axes: Mapping[str, int],
    *,
    on_progress: Callable[[int], None] | None = None,
) -> dict[str, np.ndarray]:
    """The greatest absolute value in each channel of some tensors, float64 of shape (channels,).

    axes: the axis of the channels, by tensor. What else is collected in the same pass, `collect` does. Raises
    UsageError as `collect` does, and for an axis that a tensor does not have.
    """
    kept = {name: ChannelMaxima(axis) for name, axis in axes.items()}
    collect(proto, data, lambda name: [kept[name]], list(axes), on_progress=on_progress)
    return {name: statistic.maxima for name, statistic in kept.items()}
