"""Where samples come from: files, folders, Python, the zoo."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

import numpy as np
import onnx

from dsc.check.interface import input_specs
from dsc.errors import UsageError
from dsc.models import RECIPE, Preprocessing, names, recipe
from dsc.models.evaluation import evaluation
from dsc.quantize.calibration.archives import read_archive, sample_count
from dsc.quantize.calibration.collect import Feed
from dsc.quantize.calibration.pictures import RECIPE_FILE, image_files, read_images, read_recipe
from dsc.quantize.calibration.python_file import object_of
from dsc.runtime import TensorSpec

_ZOO = "zoo:"
_MANY = 1000
"""Samples that are taken where a source has no end of its own."""


@dataclass(frozen=True)
class Samples:
    """Inputs of a model, read anew each time they are iterated (but for an iterator of Python's), never all in memory.

    source: what they are, in words. count: how many, None where only reading them tells.
    """

    source: str
    count: int | None
    read: Callable[[], Iterator[Feed]]

    def __iter__(self) -> Iterator[Feed]:
        return self.read()

    def first(self, most: int) -> Samples:
        """No more than the first `most` of them."""
        if self.count is not None and self.count <= most:
            return self
        count = None if self.count is None else most
        return Samples(f"the first {most} of {self.source}", count, lambda: islice(self.read(), most))


def find_samples(text: str, model: onnx.ModelProto, preprocessing: Path | None = None) -> Samples:
    """The samples that `text` names, for a model.

    text: an .npz archive, a folder of archives or of images, `FILE.py:NAME` (an iterable of inputs by name, or a
    function that gives one), or `zoo:NAME` for a data set of the zoo. preprocessing: a TOML file that says how images
    become inputs; without it, the folder's `preprocessing.toml` or what the zoo knows of the model does. Raises
    UsageError for what is not there or cannot be read, as iterating does.
    """
    specs, path = input_specs(model), Path(text)
    is_folder = path.is_dir() and not text.startswith(_ZOO)
    if preprocessing is not None and not (is_folder and image_files(path)):
        raise UsageError(f"{preprocessing} says how images become inputs, and {text} is no folder of images")
    if text.startswith(_ZOO):
        return _of_zoo(text)
    if is_folder:
        return _of_folder(path, model, specs, preprocessing)
    if path.suffix == ".npz":
        return _of_archives(text, [path], specs)
    if ".py:" in text:
        return _of_python(text)
    expected = "an .npz file, a folder of those or of images, FILE.py:NAME, or zoo:NAME"
    raise UsageError(f"{text} is no calibration data: expected {expected}")


def _of_zoo(text: str) -> Samples:
    known = evaluation(text.removeprefix(_ZOO))
    return Samples(text, None, lambda: iter(known.calibration(_MANY)))


def _of_folder(path: Path, model: onnx.ModelProto, specs: list[TensorSpec], preprocessing: Path | None) -> Samples:
    archives, images = sorted(path.glob("*.npz")), image_files(path)
    if bool(archives) == bool(images):
        held = "both archives (.npz) and images: which are meant?" if images else "neither archives (.npz) nor images"
        raise UsageError(f"{path} holds {held}")
    if archives:
        return _of_archives(f"{len(archives)} archives in {path}", archives, specs)
    if len(specs) != 1:
        raise UsageError(
            f"{path} holds images, and the model takes {len(specs)} inputs: give archives (.npz) of them all"
        )
    how = _preprocessing(path, model, preprocessing)
    return Samples(f"{len(images)} images in {path}", len(images), lambda: read_images(images, specs[0], how))


def _of_archives(source: str, files: list[Path], specs: list[TensorSpec]) -> Samples:
    count = sum(sample_count(file, specs) for file in files)
    return Samples(source, count, lambda: chain.from_iterable(read_archive(file, specs) for file in files))


def _preprocessing(folder: Path, model: onnx.ModelProto, given: Path | None) -> Preprocessing:
    """What the user says, or lies beside the images, or the zoo knows of the model."""
    beside = folder / RECIPE_FILE
    if given is not None or beside.exists():
        return read_recipe(given or beside)
    known = {entry.key: entry.value for entry in model.metadata_props}.get(RECIPE)
    found = recipe(known).preprocessing if known in names() else None
    if found is None:
        raise UsageError(
            f"how do the images in {folder} become inputs? Say so in {beside}: crop, mean and std at least"
        )
    return found


def _of_python(text: str) -> Samples:
    found = object_of(text)
    count = len(found) if hasattr(found, "__len__") else None

    def read() -> Iterator[Feed]:
        for feed in _iterable(text, found):
            if not isinstance(feed, Mapping):
                raise UsageError(f"{text} gives a {type(feed).__name__}, expected inputs by name")
            yield {name: np.asarray(array) for name, array in feed.items()}

    return Samples(text, count, read)


def _iterable(text: str, found: object) -> Iterable[object]:
    made = found() if callable(found) else found
    if not isinstance(made, Iterable):
        raise UsageError(f"{text} is a {type(made).__name__}, expected an iterable of inputs by name")
    return made
