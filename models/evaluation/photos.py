"""Twenty ImageNet photographs: a smoke test. Small photographs of other things, enlarged, calibrate."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from dsc.models.catalog import recipe
from dsc.models.data import imagenet_photos, small_photos
from dsc.models.evaluation.evaluation import Evaluation, Feeds, Run, first_output

_MODEL = "efficientnet-lite0"


def _calibration(count: int) -> Iterator[Feeds]:
    preprocessing = recipe(_MODEL).preprocessing
    assert preprocessing is not None
    for path in small_photos()[:count]:
        yield {"input": preprocessing.apply(path)}


def _answers(run: Run) -> np.ndarray:
    preprocessing = recipe(_MODEL).preprocessing
    assert preprocessing is not None
    feeds = ({"input": preprocessing.apply(photo.path)} for photo in imagenet_photos())
    return np.array([first_output(run, each).argmax() for each in feeds])


def _truth() -> np.ndarray:
    return np.array([photo.label for photo in imagenet_photos()])


IMAGENET_PHOTOS = Evaluation("imagenet-photos", _MODEL, "top-1 of 20 photographs", _calibration, _answers, _truth)
