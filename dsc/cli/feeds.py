"""Inputs from files: npy, npz, images."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dsc.cli.images import Pixels
from dsc.elements import BY_DTYPE_NAME, stored_dtype
from dsc.errors import UsageError
from dsc.files import writing
from dsc.models import IMAGE_SUFFIXES, Preprocessing, imagenet_photos

if TYPE_CHECKING:
    from dsc.runtime.manifest import TensorSpec

_PHOTO = "zoo:photo"


def read_inputs(
    texts: Sequence[str], specs: Sequence[TensorSpec], pixels: Pixels | Preprocessing
) -> dict[str, np.ndarray]:
    """The inputs that `texts` give, each "FILE" or "NAME=FILE".

    The name may be left out where there is one input. pixels: how an image becomes an input. Raises
    UsageError for files that cannot be read and names that are not there; dtypes and shapes are checked by
    `Module.run`.
    """
    inputs: dict[str, np.ndarray] = {}
    for text in texts:
        name, file = _split(text, [spec.name for spec in specs])
        if file.endswith(".npz"):
            found = _read_npz(Path(file))
            inputs.update(found if name is None else {name: _only(found, file)})
            continue
        spec = _spec(name, specs, text)
        inputs[spec.name] = _read_array(file, spec, pixels)
    types = {spec.name: spec.dtype for spec in specs}
    return {name: _as_declared(array, types.get(name)) for name, array in inputs.items()}


def _as_declared(array: np.ndarray, dtype: str | None) -> np.ndarray:
    """The array, with its type where numpy files do not know it: bfloat16 is two bytes of anything there."""
    declared = BY_DTYPE_NAME.get(dtype or "")
    if declared is None or declared.encoding is None or array.dtype != _bytes_of(declared.dtype):
        return array
    return array.view(declared.dtype)


def _bytes_of(dtype: np.dtype[np.generic]) -> np.dtype[np.generic]:
    return np.dtype((np.void, dtype.itemsize))


def read_samples(files: Sequence[Path], specs: Sequence[TensorSpec]) -> list[dict[str, np.ndarray]]:
    """The samples of npz archives of arrays by input name.

    An archive is one sample, or many stacked: each array has one dim more than its input then, the first. Raises
    UsageError for files that cannot be read, names that are not the model's, and stacks of different heights.
    """
    return [sample for file in files for sample in _unstacked(file, _read_npz(file), specs)]


def _unstacked(file: Path, found: dict[str, np.ndarray], specs: Sequence[TensorSpec]) -> list[dict[str, np.ndarray]]:
    names = [spec.name for spec in specs]
    if sorted(found) != sorted(names):
        raise UsageError(f"--data {file} holds {', '.join(found) or 'nothing'}; the model takes {', '.join(names)}")
    if not specs or not all(found[spec.name].ndim == len(spec.shape) + 1 for spec in specs):
        return [found]
    heights = {len(array) for array in found.values()}
    if heights == {0}:
        raise UsageError(f"--data {file} holds stacks of no samples")
    if len(heights) != 1:
        raise UsageError(f"--data {file}: its arrays are stacks of {', '.join(map(str, sorted(heights)))} samples")
    return [{name: array[index] for name, array in found.items()} for index in range(heights.pop())]


def is_image(file: str) -> bool:
    """Whether this would be read as an image."""
    return file == _PHOTO or Path(file).suffix.lower() in IMAGE_SUFFIXES


def files_named(texts: Sequence[str] | None) -> list[str]:
    """What may be files of `texts`, each "FILE" or "NAME=FILE"."""
    return [part for text in texts or () for part in (text, text.partition("=")[2]) if part]


def _split(text: str, names: list[str]) -> tuple[str | None, str]:
    """Names and paths may both hold "=": the name is one the model has."""
    for name in names:
        if text.startswith(f"{name}="):
            return name, text.removeprefix(f"{name}=")
    head, equals, _ = text.partition("=")
    if equals and not Path(text).exists():
        raise UsageError(f"--input {text}: the model has no input {head!r}; it has {', '.join(names)}")
    return None, text


def _spec(name: str | None, specs: Sequence[TensorSpec], text: str) -> TensorSpec:
    if name is None and len(specs) != 1:
        names = ", ".join(spec.name for spec in specs)
        raise UsageError(f"--input {text}: say for which input, as NAME={text}; the model has {names}")
    return next(spec for spec in specs if name in (None, spec.name))


def _read_array(file: str, spec: TensorSpec, pixels: Pixels | Preprocessing) -> np.ndarray:
    if file == _PHOTO:
        return _read_image(imagenet_photos()[0].path, spec, pixels)
    path = Path(file)
    if is_image(file):
        return _read_image(path, spec, pixels)
    if path.suffix != ".npy":
        raise UsageError(f"{file}: inputs are read from .npy, .npz and images ({', '.join(IMAGE_SUFFIXES)})")
    try:
        loaded: np.ndarray = np.load(path, allow_pickle=False)
        return loaded
    except (OSError, ValueError, EOFError) as error:
        raise UsageError(f"{file} cannot be read as a numpy array: {error}") from error


def _read_image(path: Path, spec: TensorSpec, pixels: Pixels | Preprocessing) -> np.ndarray:
    from PIL import UnidentifiedImageError

    try:
        return pixels.apply(path) if isinstance(pixels, Preprocessing) else pixels.read(path, spec)
    except UnidentifiedImageError as error:
        raise UsageError(f"{path} is not an image, or a damaged one") from error
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}") from error


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            return dict(archive)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise UsageError(f"{path} cannot be read as an npz archive: {error}") from error


def _only(found: dict[str, np.ndarray], file: str) -> np.ndarray:
    if len(found) != 1:
        raise UsageError(f"{file} holds {len(found)} arrays ({', '.join(found)}), expected one")
    return next(iter(found.values()))


def write_npz(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write arrays by name, whole or not at all; equal arrays give equal bytes. Raises UsageError."""
    with writing(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                known = stored_dtype(array.dtype) == array.dtype
                written = array if known else array.view(_bytes_of(array.dtype))
                np.lib.format.write_array(member, np.asanyarray(written), allow_pickle=False)
