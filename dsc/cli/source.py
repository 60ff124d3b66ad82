"""What a verb's words mean: models, shapes, sizes."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dsc.cli.console import progress
from dsc.errors import UsageError
from dsc.models import Recipe, fetch, recipe

_ZOO = "zoo:"
_MAX_THREADS = 256
_UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}


@dataclass(frozen=True)
class Source:
    """A model named on the command line: its ONNX file, and its recipe if it is of the zoo."""

    path: Path
    recipe: Recipe | None = None

    @property
    def pinned(self) -> dict[str, list[int | str]]:
        """The shapes of a zoo model's recipe; empty for other models."""
        specs = self.recipe.inputs if self.recipe is not None else ()
        return {spec.name: list(spec.pinned) for spec in specs}

    def shapes(self, texts: Sequence[str] | None, pinned: bool) -> dict[str, list[int | str]]:
        """Those of --shape, and with --pinned those of the recipe where --shape says nothing. Raises UsageError."""
        if pinned and self.recipe is None:
            raise UsageError(f"--pinned is for models of the zoo, {self.path} is none: fix its shapes with --shape")
        return {**(self.pinned if pinned else {}), **parse_shapes(texts)}

    @property
    def name(self) -> str:
        """What to call it, and what is made from it."""
        return self.recipe.name if self.recipe is not None else self.path.stem


def find_model(text: str) -> Source:
    """The model `text` names: a file, or zoo:NAME, fetched on first use. Raises UsageError."""
    if text.startswith(_ZOO):
        known = recipe(text.removeprefix(_ZOO))
        with progress() as tell:
            return Source(fetch(known.name, progress=lambda step: tell(step, 0, 1)), known)
    path = Path(text)
    if not path.exists():
        raise UsageError(f"there is no file {text}; models of the zoo are zoo:NAME, see `dsc models list`")
    if path.is_dir():
        raise UsageError(f"{text} is a folder, expected an ONNX file")
    if path.suffix == ".dsc":
        raise UsageError(f"{text} is a compiled module, expected the ONNX file it was made from")
    return Source(path)


def parse_shapes(texts: Sequence[str] | None) -> dict[str, list[int | str]]:
    """The shapes of --shape: "input:1x3x224x224", "input:1,3,224,224", "ids:[batch,128]", "scalar:[]".

    The name ends at the last colon. Raises UsageError for anything else, or an input that is named twice.
    """
    shapes: dict[str, list[int | str]] = {}
    for text in texts or ():
        name, colon, dims = text.rpartition(":")
        if not colon or not name:
            raise UsageError(f"--shape {text}: expected NAME:DIMS, as input:1x3x224x224 or ids:[batch,128]")
        if name in shapes:
            raise UsageError(f"--shape {text}: the shape of {name} is given twice")
        shapes[name] = _dims(text, dims.strip())
    return shapes


def parse_ranges(texts: Sequence[str] | None) -> dict[str, tuple[float, float]]:
    """The ranges of --range: "input_ids:0:30522", from the first number to below the second.

    Raises UsageError for anything else, or an input that is named twice.
    """
    ranges: dict[str, tuple[float, float]] = {}
    for text in texts or ():
        name, *numbers = text.rsplit(":", 2)
        try:
            low, high = map(float, numbers)
        except ValueError:
            raise UsageError(f"--range {text}: expected NAME:LOW:HIGH, as input_ids:0:30522") from None
        if name in ranges:
            raise UsageError(f"--range {text}: the range of {name} is given twice")
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise UsageError(f"--range {text}: the first number must be less than the second, which is not reached")
        ranges[name] = (low, high)
    return ranges


def _dims(text: str, dims: str) -> list[int | str]:
    if dims == "[]":
        return []
    inner = dims.removeprefix("[").removesuffix("]")
    if "," in inner or dims.startswith("["):
        parts = [part.strip() for part in inner.split(",")]
    else:
        parts = inner.split("x")
        if not all(part.isdecimal() for part in parts):
            raise UsageError(f"--shape {text}: a dim is a number; write names as {text.rpartition(':')[0]}:[batch,128]")
    bad = [part for part in parts if not re.fullmatch(r"[0-9]{1,18}|[A-Za-z_][\w.]*", part)]
    if bad:
        raise UsageError(f"--shape {text}: {bad[0]!r} is neither a number nor a name")
    return [int(part) if part.isdecimal() else part for part in parts]


def parse_size(text: str) -> int:
    """Bytes of "12MB", "1.5 GiB", "800000". Raises UsageError for anything else."""
    match = re.fullmatch(r"\s*(\d{1,15}(?:\.\d{1,15})?)\s*([A-Za-z]*)\s*", text, re.ASCII)
    if match is None or match[2].lower() not in _UNITS:
        raise UsageError(f"{text!r} is not a size; write it as 12MB, 1.5GiB or a number of bytes")
    return int(float(match[1]) * _UNITS[match[2].lower()])


def parse_threads(text: str) -> list[int]:
    """The counts of "1,2". Raises UsageError for anything else."""
    parts = text.split(",")
    if not all(re.fullmatch(r"\s*[0-9]{1,3}\s*", part) and 1 <= int(part) <= _MAX_THREADS for part in parts):
        raise UsageError(f"--threads {text}: expected numbers of threads, as 1,2 (at most {_MAX_THREADS})")
    return [int(part) for part in parts]
