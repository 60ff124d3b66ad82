"""Realistic inputs: what a model gets in use, not zeros."""

from __future__ import annotations

import zlib

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from dsc.models.catalog import recipe
from dsc.models.recipe import InputSpec, Values

_LETTERS = list("ABCDEFGHIKLMNOPRSTUVWabcdefghiklmnoprstuvw0123456789")


def inputs(name: str, seed: int = 0) -> dict[str, np.ndarray]:
    """Inputs of the zoo's model `name` in its pinned shapes, by input name; equal for equal seeds."""
    return {spec.name: _value(spec, [seed, zlib.crc32(spec.name.encode())]) for spec in recipe(name).inputs}


def _value(spec: InputSpec, seed: list[int]) -> np.ndarray:
    random, shape = np.random.default_rng(seed), spec.pinned
    if spec.values in ("tokens", "bytes"):
        return random.integers(0, spec.high, shape).astype(spec.dtype)
    if spec.values in ("ones", "zeros"):
        return np.full(shape, spec.values == "ones", spec.dtype)
    if spec.values == "rate":
        return np.full(shape, 16_000, spec.dtype)
    if spec.values == "audio":
        time = np.arange(shape[-1]) / 16_000
        return (0.3 * np.sin(2 * np.pi * 220 * time) + 0.02 * random.standard_normal(shape)).astype(spec.dtype)
    if spec.values == "normal":
        return random.standard_normal(shape).astype(spec.dtype)
    return _image(spec.values, shape, random).astype(spec.dtype)


def _image(values: Values, shape: tuple[int, ...], random: np.random.Generator) -> np.ndarray:
    """Values 0..1 ("image"), -2..2 ("photo"), pixels less a mean ("pixels"), words in -1..1 ("text")."""
    if values == "text":
        return np.broadcast_to(_text(shape[-2], shape[-1], random) * 2 - 1, shape)
    image = _smooth(shape, random)
    return {"image": image, "photo": image * 4 - 2, "pixels": image * 255 - 117}[values]


def _text(height: int, width: int, random: np.random.Generator) -> np.ndarray:
    """A page (height, width) in 0..1 of dark words on light ground, in lines of at most 48 pixels."""
    page = Image.new("L", (width, height), 235)
    draw, line = ImageDraw.Draw(page), min(height, 48)
    font = ImageFont.load_default(line * 0.7)
    for top in range(0, height - line + 1, line):
        words = ("".join(random.choice(_LETTERS, random.integers(2, 8))) for _ in range(width // line))
        draw.text((line // 4, top), " ".join(words), fill=int(random.integers(0, 80)), font=font)
    return np.asarray(page, np.float32) / 255


def _smooth(shape: tuple[int, ...], random: np.random.Generator) -> np.ndarray:
    """Values in 0..1 with a photograph's falling spectrum: noise in cells, ever finer and weaker."""
    height, width = shape[-2:]
    image, cells, weight = np.zeros(shape), 4, 1.0
    while cells <= max(height, width):
        rows, columns = (np.arange(size) * cells // max(height, width) for size in (height, width))
        noise = random.random((*shape[:-2], cells, cells))
        image += weight * noise[..., rows[:, None], columns[None, :]]
        cells, weight = 2 * cells, weight / 2
    low, high = image.min(), image.max()
    scaled: np.ndarray = (image - low) / max(high - low, 1e-6)
    return scaled
