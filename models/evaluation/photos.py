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


def _accuracy(run: Run) -> float:
    preprocessing, photos = recipe(_MODEL).preprocessing, imagenet_photos()
    assert preprocessing is not None
    found = [first_output(run, {"input": preprocessing.apply(photo.path)}).argmax() == photo.label for photo in photos]
    return float(np.mean(found))


IMAGENET_PHOTOS = Evaluation("imagenet-photos", _MODEL, "top-1 of 20 photographs", _calibration, _accuracy)
