"""Real networks, compiled, against ONNX Runtime: the bar of 1e-4 and the same winners.

A convolutional network and a transformer; the rest of the zoo is checked with `dsc verify zoo:NAME`.
"""

from __future__ import annotations

import numpy as np
import pytest

import dsc
import dsc.models as zoo
from dsc.check import verify
from dsc.runtime import Module


@pytest.fixture(scope="module")
def minilm() -> Module:
    return dsc.compile(zoo.fetch("minilm-l6"), threads=2)


def test_efficientnet_on_photographs() -> None:
    """Same numbers and the same class on real images, in batches of one and of three."""
    path, preprocessing = zoo.fetch("efficientnet-lite0"), zoo.recipe("efficientnet-lite0").preprocessing
    assert preprocessing is not None
    images = [preprocessing.apply(photo.path) for photo in zoo.imagenet_photos()[:5]]
    samples = [{"input": image} for image in images[:2]] + [{"input": np.concatenate(images[2:])}]
    report = verify(path, dsc.compile(path, threads=2), samples)
    assert report.passed, str(report)


@pytest.mark.parametrize(("batch", "length"), [(1, 1), (1, 64), (2, 17), (3, 128)])
def test_minilm_at_any_batch_and_length(minilm: Module, batch: int, length: int) -> None:
    """One artifact for all sizes, with padded sentences."""
    random = np.random.default_rng([batch, length])
    ids = random.integers(1000, 30000, (batch, length))
    ends = random.integers(1, length + 1, batch)
    mask = (np.arange(length) < ends[:, None]).astype(np.int64)
    sample = {"input_ids": ids * mask, "attention_mask": mask, "token_type_ids": 0 * ids}
    report = verify(zoo.fetch("minilm-l6"), minilm, [sample])
    assert report.passed, str(report)
