"""Three hundred rendered lines through PP-OCR's recognition; other lines calibrate it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import onnx

from dsc.files.cache import cache_dir
from dsc.models.evaluation.evaluation import Evaluation, Feeds, Run, first_output
from dsc.models.fetch import fetch
from dsc.models.packages import Package, unpacked
from dsc.models.text_lines import Line, text_lines

_FONTS = Package(
    "fonts-dejavu-core",
    "2.37-6",
    "8892669e51aab4dc56682c8e39d8ddb7d70fad83c369344e1e240bf3ca22bb76",
    kind="debian",
)
_MODEL = "ppocr-rec"
_TEST, _CALIBRATION = 1, 2  # seeds
_LINES = 300


def _lines(count: int, seed: int) -> Iterator[Line]:
    folder = unpacked(_FONTS, cache_dir(None)) / "usr/share/fonts/truetype/dejavu"
    return text_lines(sorted(folder.glob("*.ttf")), count, seed)


def _feeds(line: Line) -> Feeds:
    """The line in three equal channels, -1 to 1."""
    pixels = line.pixels.astype(np.float32) / 127.5 - 1
    return {"x": np.ascontiguousarray(np.broadcast_to(pixels, (1, 3, *pixels.shape)))}


def _calibration(count: int) -> Iterator[Feeds]:
    return map(_feeds, _lines(count, _CALIBRATION))


def _answers(run: Run) -> np.ndarray:
    characters = _characters()
    lines = _lines(_LINES, _TEST)
    return np.array([_read(first_output(run, _feeds(line))[0], characters) for line in lines])


def _truth() -> np.ndarray:
    return np.array([line.text for line in _lines(_LINES, _TEST)])


def _characters() -> Sequence[str]:
    """What the classes stand for; the first is the blank, the last, which the list leaves out, a space."""
    metadata = {entry.key: entry.value for entry in onnx.load(fetch(_MODEL)).metadata_props}
    return ["", *metadata["character"].splitlines(), " "]


def _read(scores: np.ndarray, characters: Sequence[str]) -> str:
    """The most probable class at each place, without repetitions, the blank class, and spaces at the ends."""
    best = scores.argmax(1)
    changed = np.concatenate([[True], best[1:] != best[:-1]])
    return "".join(characters[index] for index in best[changed]).strip()


TEXT_LINES = Evaluation("text-lines", _MODEL, "lines read right of 300", _calibration, _answers, _truth)
