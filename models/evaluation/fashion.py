"""Fashion-MNIST's 10,000 test images through the perceptron; images to train on calibrate it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from dsc.models.data import fashion_mnist
from dsc.models.evaluation.evaluation import Evaluation, Feeds, Run, first_output

_BATCH = 500


def _calibration(count: int) -> Iterator[Feeds]:
    images, _ = fashion_mnist("train")
    for image in images[:count]:
        yield {"image": image.reshape(1, -1)}


def _answers(run: Run) -> np.ndarray:
    images, _ = fashion_mnist("test")
    batches = images.reshape(-1, _BATCH, images[0].size)
    return np.concatenate([first_output(run, {"image": batch}).argmax(1) for batch in batches])


def _truth() -> np.ndarray:
    return fashion_mnist("test")[1]


FASHION_MNIST = Evaluation("fashion-mnist", "fashion-mlp", "top-1 of 10,000 images", _calibration, _answers, _truth)
