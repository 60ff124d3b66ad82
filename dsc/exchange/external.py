"""Tensor data that lies in files beside the model, mapped and never trusted."""

from __future__ import annotations

import mmap
from pathlib import Path

import onnx

from dsc.errors import UnsupportedModelError, UsageError


class Files:
    """Maps files in one folder, each once; refuses whatever leads out of it."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder.resolve() if folder else None
        self._maps: dict[Path, memoryview] = {}

    @property
    def mapped(self) -> tuple[Path, ...]:
        """The files that were asked for so far."""
        return tuple(self._maps)

    def bytes_of(self, tensor: onnx.TensorProto) -> memoryview:
        """The bytes an external tensor refers to.

        Raises UnsupportedModelError for a location outside the folder (by absolute path, `..` or link) and
        for an offset or length that the file does not have; UsageError for a file that is not there.
        """
        entries = {e.key: e.value for e in tensor.external_data}
        data = self._map(tensor.name, entries.get("location", ""))
        offset = _number(tensor.name, "offset", entries.get("offset", "0"))
        rest = len(data) - offset
        length = _number(tensor.name, "length", entries["length"]) if "length" in entries else rest
        if offset + length > len(data) or length < 0:
            raise UnsupportedModelError(
                f"weight {tensor.name!r}: bytes {offset} to {offset + length} of {entries.get('location')!r} "
                f"are asked for, but the file has {len(data)}"
            )
        return data[offset : offset + length]

    def _map(self, tensor: str, location: str) -> memoryview:
        if self._folder is None:
            raise UsageError(f"weight {tensor!r} is in the file {location!r}: pass the model as a path, not as bytes")
        path = (self._folder / location.replace("\0", "")).resolve()
        if not location or "\0" in location or not path.is_relative_to(self._folder) or path == self._folder:
            raise UnsupportedModelError(f"weight {tensor!r}: {location!r} is not a file inside the model's folder")
        if path not in self._maps:
            self._maps[path] = map_file(path)
        return self._maps[path]


def map_file(path: Path) -> memoryview:
    """The bytes of a regular file, mapped read-only. Raises UsageError when it cannot be read."""
    try:
        if not path.is_file():
            raise UsageError(f"{path}: {'not a regular file' if path.exists() else 'no such file'}")
        with path.open("rb") as file:
            if path.stat().st_size == 0:
                return memoryview(b"")
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: cannot be read: {error}") from error


def _number(tensor: str, key: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise UnsupportedModelError(f"weight {tensor!r}: external data {key} {text[:40]!r} is not a byte count")
    return int(text)
