"""What the zoo knows of a model, as frozen data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import onnx

from dsc.models.packages import Package

Values = Literal["normal", "image", "photo", "pixels", "text", "tokens", "ones", "zeros", "bytes", "audio", "rate"]


@dataclass(frozen=True)
class InputSpec:
    """One input of a model and what a realistic value of it is.

    `shape` is the model's own: a name where the dim is free. `pinned` is the shape of benchmarks and tests.
    `values` names the distribution (see `dsc.models.inputs`), `high` is the exclusive bound of integers.
    """

    name: str
    dtype: str
    shape: tuple[int | str, ...]
    pinned: tuple[int, ...]
    values: Values
    high: int = 0


IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".gif", ".tif", ".tiff")
"""Files that are read as images."""

Size = int | tuple[int, int]
"""In pixels: height and width, or both in one."""


@dataclass(frozen=True)
class Preprocessing:
    """From a photograph to an input: resize, crop the centre, `(pixel - mean) / scale`.

    `resize` is the length of the short side, or the height and width that the image is stretched to; pixels are
    0..255; `channels` is the order of the input's channels, and `mean` is in that order.
    """

    resize: Size
    crop: Size
    channels: Literal["RGB", "BGR"]
    mean: tuple[float, float, float]
    scale: tuple[float, float, float]
    layout: Literal["NCHW", "NHWC"] = "NCHW"

    def apply(self, path: Path) -> np.ndarray:
        """Read the image at `path`; float32 array of one image, in the layout."""
        from PIL import Image

        with Image.open(path) as opened:
            image = opened.convert("RGB")
        height, width = (self.crop, self.crop) if isinstance(self.crop, int) else self.crop
        image = image.resize(self._resized(image.size, (width, height)), Image.Resampling.BICUBIC)
        left, top = (image.width - width) // 2, (image.height - height) // 2
        pixels: np.ndarray = np.asarray(image.crop((left, top, left + width, top + height)), np.float32)
        if self.channels == "BGR":
            pixels = pixels[..., ::-1]
        pixels = (pixels - np.array(self.mean, np.float32)) / np.array(self.scale, np.float32)
        return np.ascontiguousarray(pixels.transpose(2, 0, 1)[None] if self.layout == "NCHW" else pixels[None])

    def _resized(self, size: tuple[int, int], least: tuple[int, int]) -> tuple[int, int]:
        """The width and height to resize an image to, both at least those of the crop."""
        if not isinstance(self.resize, int):
            return self.resize[1], self.resize[0]
        ratio = self.resize / min(size)
        return max(least[0], round(size[0] * ratio)), max(least[1], round(size[1] * ratio))


@dataclass(frozen=True)
class Member:
    """The ONNX file is in the package, under this path."""

    package: Package
    path: str


@dataclass(frozen=True)
class Installed:
    """The ONNX file comes with a module that dsc depends on, under this path of it."""

    module: str
    path: str


@dataclass(frozen=True)
class Built:
    """The ONNX file is built by code, from the unpacked packages given (none: seeded random weights).

    `revision` is part of the file's name in the cache: raise it when the builder's result changes.
    """

    build: Callable[..., onnx.ModelProto]
    packages: tuple[Package, ...] = ()
    revision: int = 1


Origin = Member | Installed | Built


@dataclass(frozen=True)
class Recipe:
    """A model of the zoo: where from, under which licence, what goes in, what it should score.

    `rnn` marks models that dsc can fetch but not compile yet (recurrent operators). `metric` is what ONNX
    Runtime reaches on `dataset`, for example "top-1 85 %, top-5 100 %".
    """

    name: str
    title: str
    license: str
    origin: Origin
    inputs: tuple[InputSpec, ...]
    preprocessing: Preprocessing | None = None
    dataset: str | None = None
    metric: str | None = None
    rnn: bool = False

    @property
    def source(self) -> str:
        """Where the weights come from, for people: the package and version, or how they were made."""
        if isinstance(self.origin, Member):
            return str(self.origin.package)
        if isinstance(self.origin, Installed):
            return f"the installed package {self.origin.module}"
        return ", ".join(map(str, self.origin.packages)) or "built here, seeded random weights"
