"""Lines of text as a scanner sees them: rendered in several fonts, turned, blurred, faint, noisy; seeded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

_HEIGHT = 48
_WORDS = (
    "about account address after amount answer between bill building business careful city company control country "
    "date delivery department discount district engine evening example exit family figure floor garden general "
    "garage history hotel house invoice island journey kitchen language latest letter library limited machine "
    "market material meeting member minute model monday morning mountain museum number office order original page "
    "paper parking people period picture platform please police price private problem product project public quality "
    "quantity railway reason receipt record report river room school second section service signal silver station "
    "street subject summer system table telephone terminal ticket total tower traffic travel value village water "
    "weather winter window"
).split()


@dataclass(frozen=True)
class Line:
    """A picture of a line of text, uint8 (48, width), and what it says."""

    pixels: np.ndarray
    text: str


def text_lines(fonts: Sequence[Path], count: int, seed: int) -> Iterator[Line]:
    """So many lines; other seeds give other lines."""
    random = np.random.default_rng([seed, 0x0C2])
    for _ in range(count):
        text = _text(random)
        font = ImageFont.truetype(str(fonts[int(random.integers(len(fonts)))]), int(random.integers(24, 34)))
        yield Line(_scanned(_rendered(text, font, random), random), text)


def _text(random: np.random.Generator) -> str:
    return " ".join(_word(random) for _ in range(random.integers(1, 4)))


def _word(random: np.random.Generator) -> str:
    word = str(random.choice(_WORDS))
    match random.integers(6):
        case 0:
            return str(random.integers(10, 100_000))
        case 1:
            return word.upper()
        case 2:
            return word.capitalize()
        case _:
            return word


def _rendered(text: str, font: ImageFont.FreeTypeFont, random: np.random.Generator) -> Image.Image:
    """Dark on light, a little askew, 48 pixels high."""
    left, top, right, bottom = font.getbbox(text)
    width = int(right - left) + int(random.integers(16, 40))
    ground, ink = int(random.integers(150, 250)), int(random.integers(0, 110))
    page = Image.new("L", (width, _HEIGHT), ground)
    place = ((width - (right - left)) / 2 - left, (_HEIGHT - (bottom - top)) / 2 - top)
    ImageDraw.Draw(page).text(place, text, fill=ink, font=font)
    return page.rotate(float(random.uniform(-1.5, 1.5)), Image.Resampling.BICUBIC, fillcolor=ground)


def _scanned(page: Image.Image, random: np.random.Generator) -> np.ndarray:
    """Blurred, with a gradient of light and the noise of a sensor."""
    blurred = page.filter(ImageFilter.GaussianBlur(float(random.uniform(0.3, 1.5))))
    light = np.linspace(0, float(random.uniform(-40, 40)), page.width)
    noise = random.normal(0, float(random.uniform(4, 24)), (page.height, page.width))
    return np.clip(np.asarray(blurred, np.float32) + light + noise, 0, 255).astype(np.uint8)
