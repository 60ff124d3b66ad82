"""A folder of images, and the recipe that makes inputs of them."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np

from dsc.errors import UsageError
from dsc.models import IMAGE_SUFFIXES, Preprocessing
from dsc.runtime import TensorSpec

RECIPE_FILE = "preprocessing.toml"
T = TypeVar("T", bound=str)
_KEYS = ("resize", "crop", "channels", "mean", "std", "layout")


def image_files(folder: Path) -> list[Path]:
    """The images of a folder, by name."""
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)


def read_images(
    files: Sequence[Path], spec: TensorSpec, preprocessing: Preprocessing
) -> Iterator[Mapping[str, np.ndarray]]:
    """Each image as the input `spec`. Raises UsageError for what cannot be read as an image."""
    from PIL import UnidentifiedImageError

    for file in files:
        try:
            yield {spec.name: preprocessing.apply(file).astype(spec.dtype)}
        except UnidentifiedImageError as error:
            raise UsageError(f"{file} is not an image, or a damaged one") from error
        except OSError as error:
            raise UsageError(f"{file} cannot be read: {error.strerror or error}") from error


def read_recipe(file: Path) -> Preprocessing:
    """The recipe of a TOML file: `crop`, `mean`, `std`, and perhaps `resize`, `channels` and `layout`.

    As in `Preprocessing`, with `std` for its scale; without `resize`, it is what `crop` is.

    Raises UsageError that names the key and what it may be.
    """
    try:
        content = tomllib.loads(file.read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{file} cannot be read as TOML: {error}") from error
    if unknown := [key for key in content if key not in _KEYS]:
        raise UsageError(f"{file}: {unknown[0]} is none of {', '.join(_KEYS)}")
    if missing := [key for key in ("crop", "mean", "std") if key not in content]:
        raise UsageError(f"{file} does not say {missing[0]}")
    found = _Recipe(file, content)
    return Preprocessing(
        resize=found.resize(),
        crop=found.size("crop"),
        channels=found.one_of("channels", "RGB", "BGR"),
        mean=found.numbers("mean"),
        scale=found.numbers("std"),
        layout=found.one_of("layout", "NCHW", "NHWC"),
    )


@dataclass(frozen=True)
class _Recipe:
    """The values of a file, each checked as it is asked for."""

    file: Path
    content: Mapping[str, Any]

    def size(self, key: str) -> int | tuple[int, int]:
        match self.content[key]:
            case int(side) if side > 0:
                return side
            case [int(height), int(width)] if min(height, width) > 0:
                return height, width
        raise self._wrong(key, "a number of pixels, or [height, width]")

    def resize(self) -> int | tuple[int, int]:
        resize, crop = self.size("resize" if "resize" in self.content else "crop"), self.size("crop")
        if not isinstance(resize, int) and np.any(np.less(resize, crop)):
            raise self._wrong("resize", "at least what is cropped")
        return resize

    def numbers(self, key: str) -> tuple[float, float, float]:
        match self.content[key]:
            case [int() | float() as a, int() | float() as b, int() | float() as c] if key == "mean" or 0 not in (
                a,
                b,
                c,
            ):
                return float(a), float(b), float(c)
        raise self._wrong(key, "three numbers of pixels from 0 to 255" + ", none of them 0" * (key == "std"))

    def one_of(self, key: str, *words: T) -> T:
        """One of two or more words; the first where the file says nothing."""
        found = self.content.get(key, words[0])
        if found not in words:
            raise self._wrong(key, " or ".join(map(str, words)))
        return cast(T, found)

    def _wrong(self, key: str, expected: str) -> UsageError:
        return UsageError(f"{self.file}: {key} is {self.content[key]!r}, expected {expected}")
