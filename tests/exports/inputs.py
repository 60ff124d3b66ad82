"""What the models are given: names, dims and values of inputs, by kind of model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

Sizes = Mapping[str, int]

VOCABULARY = 90
"""Token ids stay below it; the models' vocabularies are a little larger."""

SIZES: tuple[dict[str, int], ...] = (
    {"batch": 2, "sequence": 7, "past": 5, "target": 6, "height": 64, "width": 96, "samples": 2400, "frames": 40},
    {"batch": 1, "sequence": 1, "past": 9, "target": 1, "height": 96, "width": 64, "samples": 1600, "frames": 24},
    {"batch": 3, "sequence": 12, "past": 2, "target": 9, "height": 128, "width": 128, "samples": 3230, "frames": 64},
)
"""The sizes at which a model is compared; it is exported at the first."""


@dataclass(frozen=True)
class Input:
    """One input of a model."""

    name: str
    dims: tuple[int | str, ...]
    """Numbers, names of free dims, or sums of those ("past+sequence")."""
    kind: str = "float"
    """``float``: normal; ``token``: ids; ``mask``: ones, with zeros at the start of the last row; ``zero``: int64."""

    def shape(self, sizes: Sizes) -> tuple[int, ...]:
        """The dims at these sizes."""
        return tuple(d if isinstance(d, int) else sum(sizes[part] for part in d.split("+")) for d in self.dims)

    def array(self, sizes: Sizes, random: np.random.Generator) -> np.ndarray:
        """A value."""
        shape = self.shape(sizes)
        if self.kind == "float":
            return random.standard_normal(shape, np.float32)
        if self.kind == "token":
            return random.integers(5, VOCABULARY, shape)
        array = np.zeros(shape, np.int64) if self.kind == "zero" else np.ones(shape, np.int64)
        if self.kind == "mask" and shape[0] > 1:
            array[-1, : shape[1] // 3] = 0
        return array


def feeds(inputs: Sequence[Input], sizes: Sizes, seed: int) -> dict[str, np.ndarray]:
    """Values of all inputs at these sizes."""
    random = np.random.default_rng(seed)
    return {given.name: given.array(sizes, random) for given in inputs}


IDS = Input("input_ids", ("batch", "sequence"), "token")
MASK = Input("attention_mask", ("batch", "sequence"), "mask")
TARGET_IDS = Input("decoder_input_ids", ("batch", "target"), "token")
FULL_MASK = Input("attention_mask", ("batch", "past+sequence"), "mask")


def pixels(height: int | str = "height", width: int | str = "width", channels: int = 3) -> Input:
    """Images; of free size unless it is given."""
    return Input("pixel_values", ("batch", channels, height, width))
