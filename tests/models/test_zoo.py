"""The models: valid ONNX, the inputs their recipes say, the accuracy their recipes state."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

import dsc.models as zoo
from dsc.errors import UsageError

# Quick to fetch and to run; the others are run by the whole zoo's verification.
QUICK = (
    "efficientnet-lite0",
    "squeezenet",
    "mobilenet-v2",
    "yolov8n",
    "ppocr-rec",
    "magika",
    "light-shufflenet",
)


def session(name: str) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(zoo.fetch(name)), options, providers=["CPUExecutionProvider"])


def test_unknown_model_names_the_nearest() -> None:
    with pytest.raises(UsageError, match="no model 'resnet5'; is it resnet50"):
        zoo.recipe("resnet5")


def test_catalogue() -> None:
    assert set(zoo.SPEED_BAR) < set(zoo.names())
    for name in zoo.names():
        recipe = zoo.recipe(name)
        assert recipe.license
        assert recipe.source
        for spec in recipe.inputs:
            fixed = zip(spec.shape, spec.pinned, strict=True)
            assert all(isinstance(dim, str) or dim == size for dim, size in fixed), (name, spec)


@pytest.mark.parametrize("name", zoo.names())
def test_inputs_are_as_the_recipe_says_and_seeded(name: str) -> None:
    values, again, other = zoo.inputs(name), zoo.inputs(name), zoo.inputs(name, seed=1)
    for spec in zoo.recipe(name).inputs:
        value = values[spec.name]
        assert value.shape == spec.pinned
        assert value.dtype == spec.dtype
        np.testing.assert_array_equal(value, again[spec.name])
        if spec.values not in ("ones", "zeros", "rate"):
            assert np.any(value != other[spec.name])
            assert value.std() > 0.05


@pytest.mark.parametrize("name", QUICK)
def test_model_is_valid_and_runs(name: str) -> None:
    onnx.checker.check_model(str(zoo.fetch(name)), full_check=True)
    model = session(name)
    assert {i.name for i in model.get_inputs()} == {spec.name for spec in zoo.recipe(name).inputs}
    for output in model.run(None, zoo.inputs(name)):
        assert np.isfinite(output).all()


@pytest.mark.parametrize(("name", "first", "fifth"), [("efficientnet-lite0", 17, 20), ("squeezenet", 14, 19)])
def test_imagenet_accuracy(name: str, first: int, fifth: int) -> None:
    """Of 20 photographs, how many are right at first place and in the first five: what the recipes state."""
    recipe, model = zoo.recipe(name), session(name)
    assert recipe.preprocessing is not None
    ranks = []
    for photo in zoo.imagenet_photos():
        scores = model.run(None, {"input": recipe.preprocessing.apply(photo.path)})[0][0]
        ranks.append(int((scores > scores[photo.label]).sum()))
    assert sum(rank < 1 for rank in ranks) == first
    assert sum(rank < 5 for rank in ranks) == fifth


def test_imagenet_labels() -> None:
    labels = zoo.imagenet_labels()
    assert len(labels) == 1000
    assert (labels[0], labels[999]) == ("tench", "toilet paper")


def test_minilm_batch_and_padding() -> None:
    """Batch and sequence are free, and masked tokens do not change the others."""
    model, random = session("minilm-l6"), np.random.default_rng(3)
    ids = random.integers(1000, 30000, (3, 9))
    mask = np.ones_like(ids)
    short = model.run(None, {"input_ids": ids, "attention_mask": mask, "token_type_ids": 0 * ids})[0]
    padded = [np.pad(array, ((0, 0), (0, 5))) for array in (ids, mask, 0 * ids)]
    long = model.run(None, dict(zip(("input_ids", "attention_mask", "token_type_ids"), padded, strict=True)))[0]
    # float32 sums in another order: a few ulps of values of about 1
    np.testing.assert_allclose(long[:, :9], short, atol=2e-5)


def test_text_recognition_reads_rendered_text() -> None:
    """The rec model's inputs are lines of text that it recognizes with confidence, not noise."""
    probabilities = session("ppocr-rec").run(None, zoo.inputs("ppocr-rec"))[0]
    assert np.median(probabilities.max(-1)) > 0.9


def test_fetch_twice_is_the_same_file(tmp_path: Path) -> None:
    steps: list[str] = []
    path = zoo.fetch("resnet18", tmp_path, steps.append)
    stamp = path.stat().st_mtime_ns
    assert zoo.fetch("resnet18", tmp_path, steps.append).stat().st_mtime_ns == stamp
    assert steps == ["building the ONNX graph"]
