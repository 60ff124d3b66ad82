"""Which model an artifact was made of: a hash of all that the model is."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import onnx

from dsc.exchange.read import ModelSource, read_model

_CHUNK = 1 << 20


def fingerprint(source: ModelSource) -> str:
    """SHA-256 in hex of the ONNX file and of the names and bytes of its external data files.

    A model without external data has the hash that `sha256sum` prints of its file; a ModelProto that of its
    serialization, which is what `onnx.save` writes. Raises as `import_model` does for what cannot be read.
    """
    if isinstance(source, onnx.ModelProto):
        return hashlib.sha256(source.SerializeToString()).hexdigest()
    if isinstance(source, bytes):
        return hashlib.sha256(source).hexdigest()
    path, digest = Path(source), hashlib.sha256()
    others = read_model(path).external
    for piece in _pieces(path):
        digest.update(piece)
    for file in sorted(others):
        digest.update(str(file.relative_to(path.parent.resolve())).encode())
        for piece in _pieces(file):
            digest.update(piece)
    return digest.hexdigest()


def _pieces(path: Path) -> Iterator[bytes]:
    """The bytes of a file, read and not mapped: pages of a mapping would count as this process's memory."""
    with path.open("rb") as file:
        while piece := file.read(_CHUNK):
            yield piece
