"""An image file as a model's input, where no recipe says how."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dsc.errors import UsageError

if TYPE_CHECKING:
    from dsc.runtime.manifest import TensorSpec

Triple = tuple[float, float, float]


@dataclass(frozen=True)
class Pixels:
    """Resize to the input's size, then `(pixel - mean) / std` on 0..255; `bgr` turns the channels."""

    mean: Triple = (0.0, 0.0, 0.0)
    std: Triple = (255.0, 255.0, 255.0)
    bgr: bool = False

    def read(self, path: Path, spec: TensorSpec) -> np.ndarray:
        """The image as an array for `spec`, an NCHW or NHWC input of 3 channels.

        A free height or width is the image's own, a free batch is 1. Raises UsageError for inputs that take
        no image.
        """
        from PIL import Image

        last = len(spec.shape) == 4 and spec.shape[3] == 3 and spec.shape[1] != 3
        if len(spec.shape) != 4 or not (last or spec.shape[1] in (3, None) or isinstance(spec.shape[1], str)):
            raise UsageError(f"input {spec} takes no image: expected [batch, 3, height, width]")
        height, width = spec.shape[1:3] if last else spec.shape[2:]
        with Image.open(path) as opened:
            image = opened.convert("RGB")
        size = (
            width if isinstance(width, int) else image.width,
            height if isinstance(height, int) else image.height,
        )
        array: np.ndarray = np.asarray(image.resize(size, Image.Resampling.BICUBIC), np.float32)
        array = array[..., ::-1] if self.bgr else array
        array = (array - np.array(self.mean, np.float32)) / np.array(self.std, np.float32)
        return np.ascontiguousarray((array if last else array.transpose(2, 0, 1))[None].astype(spec.dtype))


def parse_triple(option: str, text: str) -> Triple:
    """Three numbers of "127,127,127", or one for all. Raises UsageError for anything else."""
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) == 1:
        numbers *= 3
    if len(numbers) != 3:
        raise UsageError(f"{option} {text}: expected one number or three, as 123.7,116.3,103.5")
    return (numbers[0], numbers[1], numbers[2])
